"""Programs beside a cluster of ours, for as long as a `with` lasts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.identities import kubectl
from tests.cluster.machine.cluster import RunningCluster
from tests.cluster.machine.given import GivenCluster
from tests.cluster.machine.objects import FIELD_MANAGER
from tests.cluster.operators.operator_builds import WITHOUT, Operator

ENDS_S = 10


@contextmanager
def program(command: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run it with these further variables, and end it. Args: log: file for what it says."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def apply_kinds(cluster: RunningCluster | GivenCluster, operator: Operator) -> None:
    """Apply the operator's own kinds, and wait until the API server serves them.

    Skips the test where it is not built, and on a cluster that is not ours: it may have an operator already.
    """
    if not operator.is_built:
        pytest.skip(WITHOUT.format(operator.name))
    if isinstance(cluster, GivenCluster):
        pytest.skip("an operator is started only beside a cluster that these tests started")
    folder = str(operator.folder / "crds")
    # By kubectl: a bare `=` among their values is a word of YAML 1.1 to PyYAML.
    how = ("--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}")
    kubectl(cluster.kubeconfig, "apply", *how, "-f", folder)
    kubectl(cluster.kubeconfig, "wait", "--for=condition=established", "--timeout=30s", "-f", folder)
