"""The arithmetic of rollouts and of the status, without a process."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.local.cluster.deployments import next_changes, status_of
from genai_pipeline.local.cluster.objects import HASH_LABEL, template_hash, timestamp

NOW = 1_000_000.0


def deployment(replicas: int = 1, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "m"}}, "spec": {"containers": []}}
    return {
        "kind": "Deployment",
        "metadata": {"name": "m", "generation": 2},
        "spec": {"replicas": replicas, "template": template, **spec},
    }


def pod(name: str, new: bool = True, ready: bool = True, ending: bool = False, age: float = 100) -> dict[str, Any]:
    digest = template_hash(deployment()["spec"]["template"]) if new else "old"
    meta: dict[str, Any] = {
        "name": name,
        "creationTimestamp": timestamp(NOW - age),
        "labels": {HASH_LABEL: digest},
    }
    if ending:
        meta["deletionTimestamp"] = timestamp(NOW)
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": timestamp(NOW - age)}
    return {"metadata": meta, "status": {"conditions": [condition]}}


def step(of: dict[str, Any], *pods: dict[str, Any]) -> tuple[int, list[str]]:
    made = next_changes(of, pods, NOW)
    return made.create, [p["metadata"]["name"] for p in made.delete]


def test_missing_pods_are_made_and_surplus_ones_deleted() -> None:
    assert step(deployment(2)) == (2, [])
    assert step(deployment(1), pod("old-timer", age=50), pod("young", age=10)) == (0, ["young"])
    assert step(deployment(0), pod("a")) == (0, ["a"])
    assert step(deployment(1), pod("a")) == (0, [])


def test_a_terminating_pod_is_replaced_at_once() -> None:
    assert step(deployment(1), pod("a", ending=True)) == (1, [])


def test_the_old_pod_stays_until_the_new_one_is_available() -> None:
    assert step(deployment(1), pod("old", new=False)) == (1, [])
    assert step(deployment(1), pod("old", new=False), pod("new", ready=False)) == (0, [])
    assert step(deployment(1), pod("old", new=False), pod("new")) == (0, ["old"])


def test_min_ready_seconds_keep_the_old_pod_longer() -> None:
    slow = deployment(1, minReadySeconds=30)

    assert step(slow, pod("old", new=False), pod("new", age=10)) == (0, [])
    assert step(slow, pod("old", new=False), pod("new", age=40)) == (0, ["old"])


def test_broken_old_pods_go_first() -> None:
    assert step(deployment(2), pod("b", new=False, ready=False), pod("a", new=False), pod("n")) == (0, ["b"])


def test_without_surge_an_old_pod_makes_room_first() -> None:
    tight = deployment(1, strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})

    assert step(tight, pod("old", new=False)) == (0, ["old"])


def test_percentages_round_surge_up_and_unavailability_down() -> None:
    old = [pod(f"old{i}", new=False) for i in range(5)]

    assert step(deployment(5), *old) == (2, ["old0"])


def test_recreate_waits_until_every_old_pod_is_gone() -> None:
    recreate = deployment(1, strategy={"type": "Recreate"})

    assert step(recreate, pod("old", new=False)) == (0, ["old"])
    assert step(recreate, pod("old", new=False, ending=True)) == (0, [])
    assert step(recreate) == (1, [])


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_the_status_counts_as_kubernetes_does() -> None:
    status = status_of(deployment(2), [pod("a"), pod("b", ready=False), pod("c", ending=True)], NOW)

    assert {k: v for k, v in status.items() if k != "conditions"} == {
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "unavailableReplicas": 1,
        "observedGeneration": 2,
    }
    assert conditions(status)["Available"] == ("False", "MinimumReplicasUnavailable")


@pytest.mark.parametrize(("later", "reason"), [(5, "ReplicaSetUpdated"), (11, "ProgressDeadlineExceeded")])
def test_progress_ends_when_nothing_moved_for_the_deadline(later: float, reason: str) -> None:
    stuck, pods = deployment(1, progressDeadlineSeconds=10), [pod("a", ready=False)]
    stuck["status"] = status_of(stuck, pods, NOW)

    assert conditions(status_of(stuck, pods, NOW + later))["Progressing"][1] == reason


def test_the_time_while_the_cluster_was_down_is_no_time_without_progress() -> None:
    stuck, pods = deployment(1, progressDeadlineSeconds=10), [pod("a", ready=False)]
    stuck["status"] = status_of(stuck, pods, NOW)

    back = status_of(stuck, pods, NOW + 60, up_since=NOW + 55)
    stuck["status"] = back

    assert conditions(back)["Progressing"][1] == "ReplicaSetUpdated"
    assert (
        conditions(status_of(stuck, pods, NOW + 66, up_since=NOW + 55))["Progressing"][1] == "ProgressDeadlineExceeded"
    )


def test_a_complete_rollout_does_not_fail_later() -> None:
    done = deployment(1, progressDeadlineSeconds=10)
    done["status"] = status_of(done, [pod("a")], NOW)
    done["status"] = status_of(done, [pod("a", ready=False)], NOW + 5)

    assert conditions(status_of(done, [pod("a", ready=False)], NOW + 60))["Progressing"][0] == "True"


def test_the_status_stays_the_same_while_nothing_happens() -> None:
    calm, pods = deployment(1), [pod("a", ready=False)]
    calm["status"] = status_of(calm, pods, NOW)

    assert status_of(calm, pods, NOW + 60) == calm["status"]
