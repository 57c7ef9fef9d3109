"""Init containers: what comes before a pod's own containers."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.core.errors import NotReady
from genai_pipeline.gateways.cluster.pods import condition
from tests.conformance.world import IMAGE, World, until, with_spec


def with_init(world: World, *scripts: str, name: str = "m", **container: Any) -> dict[str, Any]:
    """A Deployment whose pods run these Python scripts first, each with the emptyDir at /scratch."""
    deployment = world.deployment(name, **container)
    template = deployment["spec"]["template"]
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    first = [
        {"name": f"init-{n}", "image": IMAGE, "command": [world.python, "-c", script], "volumeMounts": mounts}
        for n, script in enumerate(scripts)
    ]
    spec = template["spec"] | {"initContainers": first, "volumes": [{"name": "scratch", "emptyDir": {}}]}
    return with_spec(deployment, template=template | {"spec": spec})


def init_states(world: World) -> list[dict[str, Any]]:
    (pod,) = world.pods()
    return pod["status"].get("initContainerStatuses") or []


def test_init_containers_run_one_after_the_other_and_then_the_rest(world: World) -> None:
    writes = "import time; time.sleep(0.5); open('/scratch/said', 'w').write('the first')"
    reads = "print('the second after', open('/scratch/said').read())"
    world.up(with_init(world, writes, reads), world.service())

    (pod,) = world.pods()
    ends = [state["state"]["terminated"] for state in init_states(world)]
    assert [(end["exitCode"], end["reason"]) for end in ends] == [(0, "Completed")] * 2
    assert ends[0]["finishedAt"] <= ends[1]["startedAt"] <= world.container()["state"]["running"]["startedAt"]
    assert condition(pod, "Initialized", "True")
    assert "the second after the first" in world.cluster.logs({"app": "m"})
    assert until(world.says) == "one"


def test_an_init_container_that_fails_holds_the_pod_and_the_wait_names_it(world: World) -> None:
    world.cluster.apply([with_init(world, "raise SystemExit('nothing to restore from')", "print('never')")])

    with pytest.raises(NotReady) as error:
        world.cluster.wait_ready("m", 300)

    for expected in ("init-0", "exit code 1", "nothing to restore from"):
        assert expected in str(error.value)
    (pod,) = world.pods()
    assert pod["status"]["phase"] == "Pending"
    assert condition(pod, "Initialized", "False")["reason"] == "ContainersNotInitialized"
    assert world.container()["state"]["waiting"]["reason"] == "PodInitializing"
    assert "BackOff" in {e.reason for e in world.cluster.events("Deployment", "m")}
    assert "never" not in world.cluster.logs({"app": "m"})


def test_an_init_container_is_tried_again_until_it_ends_well_and_then_never_again(world: World) -> None:
    fails_once = (
        "import os; raise SystemExit(0 if os.path.exists('/scratch/tried') else os.mkdir('/scratch/tried') or 1)"
    )
    world.up(with_init(world, fails_once), world.service())
    until(world.says)
    world.post("/exit/3")

    until(lambda: world.container()["restartCount"] == 1 and world.container()["ready"])
    (state,) = init_states(world)
    assert (state["restartCount"], state["ready"]) == (1, True)
    (pod,) = world.pods()
    assert condition(pod, "Initialized", "True")
