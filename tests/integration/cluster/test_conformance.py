"""What every Cluster does, whichever it is. Only `world` knows against what it runs."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from genai_pipeline.core.errors import NotFound, NotReady, Refused
from tests.integration.cluster.conftest import World, until

Check = Callable[[], bool]


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


def secret(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": data}


# -- apply


def test_the_first_apply_creates_and_the_same_again_changes_nothing(world: World) -> None:
    objects = [world.deployment(replicas=0), world.service()]

    first = [a.action for a in world.cluster.apply(objects)]
    again = [a.action for a in world.cluster.apply(objects)]

    assert (first, again) == (["created", "created"], ["unchanged", "unchanged"])
    assert world.cluster.get("Deployment", "m")["metadata"]["generation"] == 1  # type: ignore[index]


def test_generation_grows_with_the_spec_and_not_with_labels(world: World) -> None:
    deployment = world.deployment(replicas=0)
    world.cluster.apply([deployment])
    labelled = deployment | {"metadata": {"name": "m", "labels": {"release": "x"}}}

    assert [a.action for a in world.cluster.apply([labelled])] == ["configured"]
    assert world.cluster.get("Deployment", "m")["metadata"]["generation"] == 1  # type: ignore[index]

    world.cluster.apply([labelled | {"spec": deployment["spec"] | {"minReadySeconds": 1}}])
    assert world.cluster.get("Deployment", "m")["metadata"]["generation"] == 2  # type: ignore[index]


def test_a_field_that_we_no_longer_send_disappears(world: World) -> None:
    world.cluster.apply([config_map(a="1", b="2")])
    world.cluster.apply([config_map(a="1")])

    assert world.cluster.get("ConfigMap", "settings")["data"] == {"a": "1"}  # type: ignore[index]


def test_a_field_of_another_manager_stays_and_changing_it_is_a_conflict(world: World) -> None:
    world.other_manager.apply([config_map(theirs="1")])
    world.cluster.apply([config_map(ours="1")])

    assert world.cluster.get("ConfigMap", "settings")["data"] == {"theirs": "1", "ours": "1"}  # type: ignore[index]
    with pytest.raises(Refused, match=r"data\.theirs"):
        world.cluster.apply([config_map(theirs="2")])


def test_diff_names_what_an_apply_would_change_and_changes_nothing(world: World) -> None:
    world.cluster.apply([world.deployment(replicas=0)])

    (difference,) = world.cluster.diff([world.deployment(replicas=0, image="test/echo:2")])

    assert difference.field == "spec.template.spec.containers[0].image"
    assert (difference.wanted, difference.live) == ("test/echo:2", "test/echo:1")
    assert world.cluster.diff([world.deployment(replicas=0)]) == []
    assert world.cluster.diff([config_map()])[0].live is None


def test_one_refused_object_keeps_the_whole_apply_from_happening(world: World) -> None:
    with pytest.raises(Refused, match=r"containers\[0\]\.image"):
        world.cluster.apply([config_map(a="1"), world.deployment(image="")])

    assert world.cluster.get("ConfigMap", "settings") is None


def test_list_returns_the_objects_whose_labels_match(world: World) -> None:
    blue, green = (world.service(name) | {"metadata": {"name": name, "labels": {"is": name}}} for name in ("b", "g"))
    world.cluster.apply([blue, green])

    assert [s["metadata"]["name"] for s in world.cluster.list("Service", {"is": "g"})] == ["g"]
    assert len(world.cluster.list("Service")) == 2


# -- rollout


def test_a_deployment_becomes_ready_and_its_service_answers(world: World) -> None:
    said: list[str] = []
    world.cluster.apply([world.deployment(says="hello"), world.service()])
    ready = world.cluster.wait_ready("m", 30, said.append)

    assert ready["status"]["availableReplicas"] == 1
    assert world.ask() == "hello"
    assert said[-1].startswith("1 of 1 replicas available")


def test_a_changed_template_replaces_the_pods(world: World) -> None:
    world.up(world.deployment(says="one"), world.service())
    (old,) = world.pods()
    world.up(world.deployment(says="two"))

    until(lambda: len(world.pods()) == 1)
    (new,) = world.pods()
    assert world.ask() == "two"
    assert new["metadata"]["labels"]["pod-template-hash"] != old["metadata"]["labels"]["pod-template-hash"]


def test_a_rollout_that_crashes_leaves_the_old_pods_serving(world: World) -> None:
    world.up(world.deployment(says="one"), world.service())
    world.cluster.apply([world.deployment(says="two", command=["python", "-c", "raise SystemExit(3)"])])

    with pytest.raises(NotReady):
        world.cluster.wait_ready("m", 30)

    assert world.ask() == "one"


def test_recreate_ends_the_old_pods_before_it_starts_new_ones(world: World) -> None:
    seen: list[int] = []
    recreate = {"strategy": {"type": "Recreate"}}
    one, two = world.deployment(says="one"), world.deployment(says="two")
    world.up(one | {"spec": one["spec"] | recreate})
    world.cluster.apply([two | {"spec": two["spec"] | recreate}])

    def replaced() -> bool:
        pods = world.pods()
        seen.append(len(pods))
        return [p["metadata"]["labels"]["says"] for p in pods] == ["two"]

    until(replaced)
    assert max(seen) == 1


def test_scaling_up_spreads_requests_over_all_ready_pods(world: World) -> None:
    world.up(world.deployment(), world.service())
    world.cluster.scale("m", 2)
    world.cluster.wait_ready("m", 30)

    assert until(lambda: len({world.ask("/pid") for _ in range(8)}) == 2)


def test_scaled_to_zero_its_pods_go_and_its_service_refuses_at_once(world: World, refused: Check) -> None:
    world.up(world.deployment(), world.service())
    world.cluster.scale("m", 0)
    world.cluster.wait_gone({"app": "m"}, 20)

    until(refused)
    assert world.cluster.wait_ready("m", 5)["status"].get("availableReplicas", 0) == 0


def test_scaling_what_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.cluster.scale("nothing", 1)


# -- diagnosis


def test_a_crash_loop_ends_the_wait_early_with_exit_code_log_and_cause(world: World) -> None:
    crash = ["python", "-c", "raise SystemExit('error: unrecognized arguments: --max-model-length')"]
    world.cluster.apply([world.deployment(command=crash)])

    with pytest.raises(NotReady) as error:
        world.cluster.wait_ready("m", 300)

    for expected in ("exit code 1", "unrecognized arguments: --max-model-length", "Likely cause", "serving.args"):
        assert expected in str(error.value)


def test_an_unknown_image_ends_the_wait_early_and_says_which(world: World) -> None:
    world.cluster.apply([world.deployment(image="nowhere/unknown:9")])

    with pytest.raises(NotReady, match="nowhere/unknown:9"):
        world.cluster.wait_ready("m", 300)


def test_a_pod_that_is_never_ready_exceeds_the_progress_deadline(world: World) -> None:
    args = ["$(POD_IP)", "8000", "--unhealthy"]
    deployment = world.deployment(args=args)
    world.cluster.apply([deployment | {"spec": deployment["spec"] | {"progressDeadlineSeconds": 1}}])

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


def test_events_of_a_deployment_include_those_of_its_pods(world: World) -> None:
    world.up(world.deployment())

    assert ("Pod", "Started") in {(e.kind, e.reason) for e in world.cluster.events("Deployment", "m")}


def test_logs_include_those_of_the_crashed_predecessor(world: World) -> None:
    world.up(world.deployment(), world.service())
    world.post("/exit/3")

    until(lambda: world.container()["restartCount"] == 1 and world.container()["ready"])
    logs = world.cluster.logs({"app": "m"})
    assert "ending as asked" in logs
    assert logs.count("serving as one") == 2
    assert world.container()["lastState"]["terminated"]["exitCode"] == 3


# -- probes


def test_a_pod_that_is_not_ready_gets_no_requests_until_it_is(world: World, refused: Check) -> None:
    world.up(world.deployment(), world.service())
    address = f"http://{world.pods()[0]['status']['podIP']}:8000"
    world.http.post(f"{address}/healthz/off")
    until(refused)

    world.http.post(f"{address}/healthz/on")
    until(lambda: not refused())
    assert world.container()["restartCount"] == 0


def test_a_failing_liveness_probe_restarts_the_container(world: World, refused: Check) -> None:
    probe = {"httpGet": {"path": "/healthz", "port": 8000}, "periodSeconds": 1}
    probes = {"startupProbe": probe, "livenessProbe": probe | {"failureThreshold": 1}, "readinessProbe": None}
    world.up(world.deployment(**probes), world.service())
    world.post("/healthz/off")

    until(lambda: world.container()["restartCount"] == 1)
    until(lambda: not refused())
    assert world.ask("/healthz") == ""


@pytest.mark.parametrize(
    "probe",
    [{"tcpSocket": {"port": "http"}}, {"exec": {"command": ["python", "-c", "import os; os.environ['POD_IP']"]}}],
    ids=["tcpSocket", "exec"],
)
def test_startup_and_readiness_may_be_probed_by(world: World, probe: dict[str, Any]) -> None:
    slow = {"periodSeconds": 1, "timeoutSeconds": 5}
    world.up(world.deployment(startupProbe=probe | slow, readinessProbe=probe | slow), world.service())

    assert world.container()["ready"]


# -- traffic


class Load:
    """Requests from a few threads until it is left; `failures` and `answers` tell what came of them."""

    def __init__(self, send: Callable[[httpx.Client], str], threads: int = 2) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._over = threading.Event()
        self._send = send
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not self._over.wait(0.003):
                try:
                    self.answers.append(self._send(client))
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))


def blue_and_green(world: World) -> str:
    """Two Deployments up, the Service at the blue one."""
    world.up(world.deployment("blue", says="blue"), world.deployment("green", says="green"))
    world.up(world.service("m", app="blue"))
    url = world.cluster.endpoint("m")
    until(lambda: world.ask() == "blue")
    return url


def cut_over(world: World, load: Load) -> None:
    """Switch, then end the old release while requests go on."""
    until(lambda: len(load.answers) > 20)
    world.up(world.service("m", app="green"))
    until(lambda: load.answers[-1] == "green")
    world.cluster.scale("blue", 0)
    world.cluster.wait_gone({"app": "blue"}, 20)
    enough = len(load.answers) + 20
    until(lambda: len(load.answers) > enough)


def test_a_switch_fails_no_request_on_new_connections(world: World) -> None:
    url = blue_and_green(world)

    def send(client: httpx.Client) -> str:
        return client.get(url, headers={"Connection": "close"}).raise_for_status().text

    with Load(send) as load:
        cut_over(world, load)

    assert load.failures == []
    assert load.answers == sorted(load.answers)  # blue before green: nobody sees the old release again


def test_a_stream_in_flight_finishes_on_the_pod_where_it_began(world: World) -> None:
    url = blue_and_green(world)
    with world.http.stream("GET", f"{url}/stream?n=20&s=0.05") as answer:
        lines = answer.iter_lines()
        first = next(lines)
        world.up(world.service("m", app="green"))
        until(lambda: world.ask() == "green")
        rest = list(lines)

    assert [first, *rest] == [f"blue {i}" for i in range(20)]


def test_endpoint_of_what_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.cluster.endpoint("nothing")
    world.cluster.apply([world.service()])
    with pytest.raises(NotFound, match="9999"):
        world.cluster.endpoint("m", 9999)


# -- configuration


def test_environment_comes_from_config_maps_secrets_and_fields(world: World) -> None:
    env = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "other", "optional": True}}},
        {"name": "BOTH", "value": "$(COLOUR)-$$(KEY)-$(UNKNOWN)"},
    ]
    whole = [{"prefix": "ALL_", "configMapRef": {"name": "settings"}}]
    awkward = "a'b\"c,d%e ; f\nüg"
    world.up(config_map(colour="red", odd=awkward), secret(key="s3cret"), world.service())
    world.up(world.deployment(env=env, envFrom=whole))

    got = json.loads(world.ask("/env"))
    assert (got["COLOUR"], got["KEY"], got["BOTH"]) == ("red", "s3cret", "red-$(KEY)-$(UNKNOWN)")
    assert got["ALL_odd"] == awkward
    assert got["POD"] == world.pods()[0]["metadata"]["name"]
    assert got["POD_IP"] == world.pods()[0]["status"]["podIP"]
    assert "NONE" not in got


def test_a_missing_config_map_keeps_the_pod_waiting_until_it_is_applied(world: World) -> None:
    world.cluster.apply([world.deployment(envFrom=[{"configMapRef": {"name": "settings"}}])])
    until(lambda: world.pods() and world.container()["state"].get("waiting", {}).get("reason"))
    assert world.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"

    world.up(config_map(a="1"))
    assert world.cluster.wait_ready("m", 30)


def test_a_secret_is_kept_as_base64_and_diff_does_not_show_it(world: World) -> None:
    world.cluster.apply([secret(key="old")])

    stored = world.cluster.get("Secret", "keys")
    assert stored is not None
    assert stored["data"] == {"key": base64.b64encode(b"old").decode()}
    (difference,) = world.cluster.diff([secret(key="new")])
    assert "new" not in str(difference)
    assert base64.b64encode(b"new").decode() not in str(difference)


# -- ending


def test_delete_waits_until_the_pods_are_gone_and_absent_is_fine(world: World) -> None:
    world.up(world.deployment(), world.service())
    address = f"http://{world.pods()[0]['status']['podIP']}:8000"
    world.cluster.delete("Deployment", "m")

    assert world.pods() == []
    with pytest.raises(httpx.ConnectError):
        world.http.get(address)
    world.cluster.delete("Deployment", "m")
    world.cluster.delete("Service", "nothing")


def test_the_grace_period_ends_a_container_that_ignores_the_stop_signal_and_counts_pre_stop(world: World) -> None:
    stubborn = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
    )
    hook = {"preStop": {"sleep": {"seconds": 2}}}
    deployment = world.deployment(command=["python", "-c", stubborn], readinessProbe=None, lifecycle=hook)
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2
    world.up(deployment)
    until(lambda: "up" in world.cluster.logs({"app": "m"}))

    world.cluster.delete("Deployment", "m", deadline_s=3.5)
    assert world.pods() == []


def test_pre_stop_runs_before_the_stop_signal(world: World, tmp_path: Any) -> None:
    mark = tmp_path / "mark"
    hook = {"preStop": {"exec": {"command": ["python", "-c", f"open({str(mark)!r}, 'w').write('stopping')"]}}}
    world.up(world.deployment(lifecycle=hook))
    world.cluster.delete("Deployment", "m")

    assert mark.read_text() == "stopping"
