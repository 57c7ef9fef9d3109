"""Waits that end with a diagnosis, events, logs."""

from __future__ import annotations

import pytest

from genai_pipeline.core.errors import NotReady
from tests.conformance.world import World, until, with_spec


def test_a_crash_loop_ends_the_wait_early_with_exit_code_log_and_cause(world: World) -> None:
    crash = [world.python, "-c", "raise SystemExit('error: unrecognized arguments: --max-model-length')"]
    world.cluster.apply([world.deployment(command=crash)])

    with pytest.raises(NotReady) as error:
        world.cluster.wait_ready("m", 300)

    for expected in ("exit code 1", "unrecognized arguments: --max-model-length", "Likely cause", "serving.args"):
        assert expected in str(error.value)


def test_an_unknown_image_ends_the_wait_early_and_says_which(world: World) -> None:
    world.cluster.apply([world.deployment(image="nowhere/unknown:9", imagePullPolicy="Never")])

    with pytest.raises(NotReady, match="nowhere/unknown:9"):
        world.cluster.wait_ready("m", 300)


def test_a_pod_that_is_never_ready_exceeds_the_progress_deadline(world: World) -> None:
    deployment = world.deployment(args=["$(POD_IP)", "8000", "--unhealthy"])
    world.cluster.apply([with_spec(deployment, progressDeadlineSeconds=4)])

    with pytest.raises(NotReady, match="ProgressDeadlineExceeded") as error:
        world.cluster.wait_ready("m", 300)

    assert "503" in str(error.value)


def test_the_deadline_ends_a_wait_and_the_message_says_what_the_pod_waits_for(world: World) -> None:
    world.cluster.apply([world.deployment(args=["$(POD_IP)", "8000", "--unhealthy"])])

    with pytest.raises(NotReady, match="0 of 1 replicas available"):
        world.cluster.wait_ready("m", 1)


def test_waiting_for_nothing_is_not_ready(world: World) -> None:
    with pytest.raises(NotReady, match="no Deployment"):
        world.cluster.wait_ready("nothing", 5)


def test_waiting_for_pods_that_stay_names_them_at_the_deadline(world: World) -> None:
    world.up(world.deployment())
    (pod,) = world.pods()

    with pytest.raises(NotReady, match=pod["metadata"]["name"]):
        world.cluster.wait_gone({"app": "m"}, 0.5)


def test_events_of_a_deployment_include_those_of_its_pods_and_of_no_other(world: World) -> None:
    world.up(world.deployment(), world.deployment("m-other"))

    events = world.cluster.events("Deployment", "m")
    assert ("Pod", "Started") in {(e.kind, e.reason) for e in events}
    assert [e for e in events if "other" in e.name] == []


def test_logs_include_those_of_the_crashed_predecessor(world: World) -> None:
    world.up(world.deployment(), world.service())
    until(world.says)
    world.post("/exit/3")

    until(lambda: world.container()["restartCount"] == 1 and world.container()["ready"])
    logs = world.cluster.logs({"app": "m"})
    assert "ending as asked" in logs
    assert logs.count("serving as one") == 2
    assert world.container()["lastState"]["terminated"]["exitCode"] == 3


def test_logs_are_cut_to_the_last_lines(world: World) -> None:
    talk = "for i in range(50): print('line', i, flush=True)"
    endless = f"{talk}\nimport time; time.sleep(999)"
    world.up(world.deployment(command=[world.python, "-c", endless], readinessProbe=None))
    until(lambda: "line 49" in world.cluster.logs({"app": "m"}))

    logs = world.cluster.logs({"app": "m"}, lines=3)
    assert logs.splitlines()[1:] == ["line 47", "line 48", "line 49"]
