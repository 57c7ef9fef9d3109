"""The commands of docs/kubernetes.md, run as a reader runs them: in one shell, in their order, as an administrator."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.life.image_cache import PROJECT
from tests.cluster.life.surroundings import Installation

DOCUMENT = PROJECT / "docs" / "kubernetes.md"


def commands(markdown: str) -> list[str]:
    """The blocks marked `bash`; those marked `sh` need what no test has."""
    return re.findall(r"^```bash\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)


def run_as_reader(blocks: Sequence[str], installation: Installation, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run them with this installation's settings; the first command that fails ends it and is named last."""
    script = "set -euo pipefail\ntrap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n" + "\n".join(blocks)
    environment = installation.environment | {
        "KUBECONFIG": str(installation.cluster.kubeconfig),
        "PATH": f"{Path(sys.executable).parent}:{installation.environment['PATH']}",
    }
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
