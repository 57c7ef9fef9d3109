"""helm against a cluster of the tests, with values as they would be in a file."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.unit.k8s.chart import HELM

WAIT_S = 300


def helm(
    kubeconfig: Path, namespace: str, *words: str, values: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run helm in a namespace; with `values` they are given to it."""
    given = [] if values is None else ["--values", "-"]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig), "HELM_CACHE_HOME": str(kubeconfig.parent / "helm")}
    return subprocess.run(
        [HELM, *words, "--namespace", namespace, *given],
        input=json.dumps(values or {}),
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_S + 60,
        check=False,
    )
