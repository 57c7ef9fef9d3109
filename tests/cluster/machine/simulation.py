"""Nodes without machines: Karpenter makes them as EKS Auto Mode would, kwok lets them and their pods live.

KubeRay's operator runs here too. None of this needs root.
"""

from __future__ import annotations

from pathlib import Path

from genai_pipeline.local.ports import free_ports
from tests.cluster.machine.instance_types import write_instance_types
from tests.cluster.machine.programs import Program
from tests.cluster.machine.ray_operator import ray_operator

MANIFESTS = Path(__file__).parent / "manifests"


def simulation(binaries: Path, folder: Path) -> list[Program]:
    """Karpenter, kwok and the KubeRay operator."""
    kubeconfig = {"KUBECONFIG": f"{folder}/kubeconfig"}
    types = write_instance_types(folder / "instance-types.json")
    metrics, health, kwok = free_ports(3)
    return [
        Program(
            "karpenter",
            [
                f"{binaries}/karpenter",
                "--disable-leader-election",
                f"--metrics-port={metrics}",
                f"--health-probe-port={health}",
                "--feature-gates=ReservedCapacity=true",
                # Pods of one rollout arrive within milliseconds of each other.
                "--batch-idle-duration=250ms",
                "--batch-max-duration=2s",
            ],
            kubeconfig | {"INSTANCE_TYPES_FILE_PATH": str(types)},
        ),
        Program(
            "kwok",
            [
                f"{binaries}/kwok",
                f"--kubeconfig={folder}/kubeconfig",
                "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
                "--enable-crds=Stage",
                f"--server-address=127.0.0.1:{kwok}",
                "--node-lease-duration-seconds=40",
            ],
        ),
        ray_operator(binaries, folder),
    ]


def simulation_objects(built: Path) -> list[Path]:
    """What has to stand in the cluster for them: definitions first."""
    return [
        *sorted((built / "crds").glob("*.yaml")),
        MANIFESTS / "node-class-definition.yaml",
        *sorted(MANIFESTS.glob("simulated-*.yaml")),
        *sorted((built / "stages").glob("*.yaml")),
    ]
