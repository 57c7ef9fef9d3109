"""KubeRay's operator beside the control plane. It asks each Ray cluster's dashboard by its name, so it needs DNS."""

from __future__ import annotations

from pathlib import Path

from genai_pipeline.local.ports import free_ports
from tests.cluster.machine.programs import Program


def ray_operator(binaries: Path, folder: Path) -> Program:
    metrics, health = free_ports(2)
    return Program(
        "ray-operator",
        [
            f"{binaries}/ray-operator",
            "--enable-leader-election=false",
            f"--metrics-addr=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{health}",
        ],
        {"KUBECONFIG": f"{folder}/kubeconfig"},
    )


def ray_definitions(built: Path) -> list[Path]:
    """Its kinds, which have to stand in the cluster before it starts."""
    return sorted((built / "crds").glob("ray.io_*.yaml"))
