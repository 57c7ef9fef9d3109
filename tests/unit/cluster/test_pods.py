"""What pods request and own, and Kubernetes quantities."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.utils import parse_quantity

from genai_pipeline.gateways.cluster.pods import (
    has_ended,
    is_of_deployment,
    is_owned_by,
    is_ready,
    quantity,
    requests_of,
    shares_of_gpus,
)


@pytest.mark.parametrize(
    "suffix", ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
)
@pytest.mark.parametrize("number", ["0", "3", "1.5", "500"])
def test_a_quantity_is_what_the_kubernetes_client_reads(number: str, suffix: str) -> None:
    assert quantity(number + suffix) == pytest.approx(float(parse_quantity(number + suffix)))


@pytest.mark.parametrize(("written", "number"), [(3, 3), ("1e3", 1000), (0.25, 0.25)])
def test_numbers_are_quantities_too(written: Any, number: float) -> None:
    assert quantity(written) == number


@pytest.mark.parametrize("wrong", ["", "Gi", "five", "1X"])
def test_a_text_that_is_not_a_quantity_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        quantity(wrong)


def container(restarts: str = "", limits: dict[str, str] | None = None, **requests: str) -> dict[str, Any]:
    policy = {"restartPolicy": restarts} if restarts else {}
    return {"resources": {"requests": requests, "limits": limits or {}}, **policy}


def test_a_pod_requests_what_its_containers_and_sidecars_request_together() -> None:
    spec = {"containers": [container(cpu="1"), container(cpu="500m")], "initContainers": [container("Always", cpu="1")]}

    assert requests_of(spec) == {"cpu": 2.5}


def test_a_larger_init_container_counts_instead() -> None:
    spec = {"containers": [container(cpu="1", memory="2Gi")], "initContainers": [container(cpu="3", memory="1Gi")]}

    assert requests_of(spec) == {"cpu": 3, "memory": 2 * 2**30}


def test_a_limit_without_a_request_is_the_request() -> None:
    assert requests_of({"containers": [container(limits={"cpu": "4", "memory": "8Gi"}, cpu="2")]}) == {
        "cpu": 2,
        "memory": 8 * 2**30,
    }


def test_a_pod_belongs_to_a_deployment_through_its_replica_set() -> None:
    pod = {"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "m-2-5d4f"}]}}

    assert is_of_deployment(pod, "m-2")
    assert not is_of_deployment(pod, "m")
    assert is_owned_by(pod, "ReplicaSet", "m-2-5d4f")
    assert not is_owned_by({"metadata": {}}, "ReplicaSet", "m-2-5d4f")


def test_ready_is_a_condition_and_ended_a_phase() -> None:
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}

    assert is_ready(ready)
    assert not is_ready({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    assert not is_ready({})
    assert has_ended({"status": {"phase": "Failed"}})
    assert not has_ended({"status": {"phase": "Running"}})


@pytest.mark.parametrize(
    ("limits", "args", "share"),
    [
        ({}, [], 0.0),
        ({"nvidia.com/gpu": "2"}, [], 2.0),
        ({"nvidia.com/gpu": "2"}, ["--gpu-memory-utilization=0.4"], 0.8),
        ({}, ["--gpu-memory-utilization=0.4"], 0.4),
    ],
)
def test_an_engine_takes_the_share_of_a_gpu_that_it_is_started_with(limits, args, share):
    pod = {"containers": [{"args": args, "resources": {"limits": limits}}, {"name": "other"}]}

    assert shares_of_gpus(pod) == pytest.approx(share)
