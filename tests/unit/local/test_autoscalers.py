"""Which pods are asked, and what is left alone, without a process and without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genai_pipeline.core.errors import EngineUnavailable, NotFound
from genai_pipeline.local.cluster.autoscalers import Autoscalers
from genai_pipeline.local.cluster.event_log import EventLog
from genai_pipeline.local.cluster.object_files import ObjectFiles
from genai_pipeline.local.cluster.objects import Object

ANSWERS = {"a": 0.0, "b": 0.0}


class Machine:
    """One Deployment of two pods with its ScaledObject. Each look is five seconds after the one before."""

    def __init__(self, folder: Path) -> None:
        self.store = ObjectFiles(folder / "objects")
        self.events = EventLog(folder / "events.json")
        self.load: Mapping[str, float] = ANSWERS
        self.asked: list[str] = []
        self.at = 0.0
        node: Any = SimpleNamespace(store=self.store, events=self.events)
        self.scalers = Autoscalers(node, lambda *to: self.scale(*to), lambda pod: self.read(pod), lambda: self.at)
        self.put("Deployment", "m", {"replicas": 2})
        trigger = {"type": "prometheus", "metadata": {"threshold": "2"}}
        windows = {"scaleUp": {"stabilizationWindowSeconds": 10}, "scaleDown": {"stabilizationWindowSeconds": 20}}
        self.put(
            "ScaledObject",
            "m",
            {
                "scaleTargetRef": {"name": "m"},
                "minReplicaCount": 1,
                "maxReplicaCount": 4,
                "triggers": [trigger],
                "advanced": {"horizontalPodAutoscalerConfig": {"behavior": windows}},
            },
        )
        self.pod("a")
        self.pod("b")

    def put(self, kind: str, name: str, spec: Object, **more: Any) -> None:
        meta = {"name": name, "namespace": "n", "uid": f"{kind}-{name}"} | more.pop("metadata", {})
        self.store.put({"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": spec, **more})

    def pod(self, name: str, ready: bool = True, owner: str = "m", **metadata: Any) -> None:
        owners = [{"kind": "Deployment", "name": owner, "uid": "u"}]
        status = {"conditions": [{"type": "Ready", "status": str(ready)}], "podIP": "127.0.0.1"}
        self.put("Pod", name, {"containers": []}, metadata={"ownerReferences": owners, **metadata}, status=status)

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        self.put("Deployment", name, {"replicas": replicas})

    def read(self, pod: Object) -> float:
        self.asked.append(pod["metadata"]["name"])
        load = self.load[pod["metadata"]["name"]]
        if load < 0:
            raise EngineUnavailable("It does not answer.")
        return load

    def look(self, times: int = 1) -> int:
        """Look so often, and return the replicas."""
        for _ in range(times):
            asyncio.run(self.scalers.look())
            self.at += 5
        found = self.store.get("Deployment", "n", "m")
        return found["spec"]["replicas"] if found else 0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_requests_of_all_pods_scale_up_and_down_and_an_event_says_so(machine: Machine) -> None:
    machine.load = {"a": 3, "b": 4}
    assert machine.look(10) == 4

    machine.load = ANSWERS
    assert machine.look(10) == 1
    events = [e["message"] for e in machine.events.about("n", "Deployment", "m")]
    assert events == ["New size: 4; reason: 7 requests in all", "New size: 1; reason: 0 requests in all"]


def test_only_pods_of_the_deployment_that_serve_are_asked(machine: Machine) -> None:
    machine.pod("b", ready=False)
    machine.pod("ending", deletionTimestamp="2026-01-01T00:00:00Z")
    machine.pod("other", owner="other")

    machine.look()

    assert machine.asked == ["a"]


def test_one_pod_that_does_not_answer_leaves_the_number_as_it_is(machine: Machine) -> None:
    machine.load = {"a": 100, "b": -1}
    assert machine.look(20) == 2

    machine.load = {"a": 0, "b": -1}
    assert machine.look(20) == 2


def test_pods_of_which_none_serves_leave_the_number_as_it_is(machine: Machine) -> None:
    machine.pod("a", ready=False)
    machine.pod("b", ready=False)

    assert machine.look(20) == 2


def test_a_stopped_release_stays_stopped_and_begins_anew_when_it_is_started(machine: Machine) -> None:
    machine.look(10)
    machine.put("Deployment", "m", {"replicas": 0})
    assert machine.look(10) == 0

    machine.put("Deployment", "m", {"replicas": 2})
    assert machine.look(3) == 2
    assert machine.look(5) == 1


@pytest.mark.parametrize(
    ("while_asking", "then"),
    [
        (lambda m: m.put("Deployment", "m", {"replicas": 0}), 0),
        (lambda m: m.store.remove(("ScaledObject", "n", "m")), 2),
    ],
    ids=["stopped", "without its ScaledObject"],
)
def test_a_release_that_is_stopped_while_its_pods_are_asked_is_not_started_again(
    machine: Machine, while_asking: Callable[[Machine], None], then: int
) -> None:
    machine.look(10)
    machine.put("Deployment", "m", {"replicas": 2})
    read = machine.read

    def changes(pod: Object) -> float:
        while_asking(machine)
        return read(pod)

    machine.read = changes  # type: ignore[method-assign]

    assert machine.look() == then


def test_a_deployment_that_is_removed_meanwhile_and_a_broken_object_stop_no_other(machine: Machine) -> None:
    machine.put("ScaledObject", "a-broken-one", {"scaleTargetRef": {"name": "m"}, "triggers": []})
    machine.load = {"a": 8, "b": 8}

    assert machine.look(5) == 4

    async def gone(*_: Any) -> None:
        raise NotFound("There is no Deployment m.")

    machine.scale = gone  # type: ignore[method-assign]
    machine.load = ANSWERS
    assert machine.look(10) == 4
