"""What only the cluster of one machine does, or does otherwise than Kubernetes."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from genai_pipeline.core.errors import ClusterUnavailable, NotReady, Refused
from genai_pipeline.gateways.cluster.local import LocalCluster
from genai_pipeline.local.ports import free_port
from tests.conformance.world import World, config_map, until
from tests.integration.cluster.conftest import Daemon


def test_kinds_that_mean_nothing_on_one_machine_are_kept_and_not_enforced(world: World) -> None:
    pool = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "gpu"}, "spec": {"weight": 1}}
    (applied,) = world.cluster.apply([pool])

    assert not applied.enforced
    assert world.cluster.get("NodePool", "gpu")["spec"] == {"weight": 1}  # type: ignore[index]
    assert all(a.enforced for a in world.cluster.apply([world.service()]))
    world.cluster.delete("NodePool", "gpu")
    assert world.cluster.get("NodePool", "gpu") is None


def test_an_unknown_image_names_the_images_that_are_known(world: World) -> None:
    world.cluster.apply([world.deployment(image="nowhere/unknown:9")])

    with pytest.raises(NotReady, match="vllm/vllm-openai"):
        world.cluster.wait_ready("m", 60)
    assert world.container()["state"]["waiting"]["reason"] == "ErrImagePull"


def test_a_pod_that_dies_in_the_middle_of_a_response_breaks_the_connection(world: World) -> None:
    world.up(world.deployment(), world.service())
    url = world.cluster.endpoint("m")
    with world.http.stream("GET", f"{url}/stream?n=1000&s=0.05") as answer:
        lines = answer.iter_lines()
        next(lines)
        world.post("/exit/1")
        with pytest.raises(httpx.HTTPError):
            list(lines)


def test_small_pieces_of_a_stream_are_passed_on_at_once(world: World) -> None:
    """A delay of 40 ms a piece is Nagle's algorithm waiting for a delayed acknowledgement."""
    world.up(world.deployment(), world.service())
    url = world.cluster.endpoint("m") + "/stream?n=2&s=0"
    took: list[float] = []
    for _ in range(15):
        begun = time.perf_counter()
        world.http.get(url)
        took.append(time.perf_counter() - begun)

    assert statistics.median(took) < 0.03


def test_a_large_body_passes_whole_in_both_directions(world: World) -> None:
    world.up(world.deployment(), world.service())

    answer = world.http.post(world.cluster.endpoint("m") + "/", content=b"x" * 5_000_000)

    assert answer.text == "one 5000000"


def test_volumes_are_where_the_command_line_says(world: World) -> None:
    deployment = world.deployment(
        args=["$(POD_IP)", "8000", "--name", "/etc/settings/colour"],
        volumeMounts=[{"name": "settings", "mountPath": "/etc/settings"}],
    )
    deployment["spec"]["template"]["spec"]["volumes"] = [{"name": "settings", "configMap": {"name": "settings"}}]
    world.up(config_map(colour="red"), deployment, world.service())

    assert world.ask(f"/file?path={world.ask()}") == "red"


def test_names_of_services_in_arguments_become_their_addresses(world: World) -> None:
    space = world.cluster.namespace
    world.up(world.deployment(args=["$(POD_IP)", "8000", "--name", f"http://m.{space}.svc:8000"]), world.service())

    assert world.ask() == world.cluster.endpoint("m")


def test_a_pods_environment_is_its_own_and_not_the_daemons(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.up(world.deployment(), world.service())

    assert "GENAI_LOCAL_IMAGES" not in world.ask("/env")


def test_a_service_keeps_its_address_when_it_is_made_again(world: World) -> None:
    world.cluster.apply([world.service()])
    before = world.cluster.endpoint("m")
    world.cluster.delete("Service", "m")
    world.cluster.apply([world.service()])

    assert world.cluster.endpoint("m") == before


def test_a_taken_port_is_an_event_and_a_condition_and_heals(world: World) -> None:
    world.up(world.deployment(), world.service())
    url = httpx.URL(world.cluster.endpoint("m"))
    world.cluster.delete("Service", "m")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((url.host, url.port or 80))
        squatter.listen()
        world.cluster.apply([world.service()])
        (condition,) = world.cluster.get("Service", "m")["status"]["conditions"]  # type: ignore[index]
        assert (condition["status"], condition["reason"]) == ("False", "PortTaken")
        assert [e.reason for e in world.cluster.events("Service", "m")] == ["PortTaken"]

    until(lambda: world.cluster.get("Service", "m")["status"]["conditions"][0]["status"] == "True")  # type: ignore[index]
    assert world.ask() == "one"


def test_headroom_counts_memory(world: World) -> None:
    assert (world.cluster.headroom().memory_gib or 0) > 0


# -- the daemon itself


def pid_of(world: World) -> str:
    try:
        return world.ask("/pid")
    except httpx.HTTPError:
        return ""


def test_a_new_daemon_takes_over_the_running_processes(daemon: Daemon) -> None:
    world = daemon.world()
    world.up(world.deployment(), world.service())
    pid = pid_of(world)

    for kill in (False, True):
        daemon.stop(kill)
        os.kill(int(pid), 0)  # raises if the process is gone
        daemon.start()
        assert until(lambda: pid_of(world)) == pid

    assert world.cluster.wait_ready("m", 10)
    assert world.container()["restartCount"] == 0


def test_a_container_that_ended_while_there_was_no_daemon_is_restarted(daemon: Daemon) -> None:
    world = daemon.world()
    world.up(world.deployment(), world.service())
    pid = int(world.ask("/pid"))
    daemon.stop(kill=True)
    os.kill(pid, 9)
    daemon.start()

    until(lambda: world.container()["restartCount"] == 1 and world.container()["ready"])
    assert world.container()["lastState"]["terminated"]["exitCode"] == 137


def test_a_second_daemon_for_the_same_home_refuses(shared_daemon: Daemon) -> None:
    second = Daemon(shared_daemon.home).spawn(stderr=subprocess.PIPE)
    _, said = second.communicate(timeout=20)

    assert second.returncode == 1
    assert b"runs already, as process" in said
    assert b"Traceback" not in said


def test_a_taken_api_port_is_refused_without_a_traceback(shared_daemon: Daemon, tmp_path: Path) -> None:
    second = Daemon(tmp_path, port=shared_daemon.port).spawn(stderr=subprocess.PIPE)
    _, said = second.communicate(timeout=20)

    assert second.returncode == 1
    assert b"is taken" in said
    assert b"Traceback" not in said
    assert not (tmp_path / "supervisor.sock").exists()


def test_a_web_page_cannot_use_the_api(shared_daemon: Daemon) -> None:
    without_header = httpx.get(f"{shared_daemon.url}/objects/Secret?namespace=x")
    foreign_host = httpx.get(
        f"{shared_daemon.url}/objects/Secret?namespace=x", headers={"Host": "evil.example", "X-Genai-Cluster": "1"}
    )

    assert (without_header.status_code, foreign_host.status_code) == (403, 403)


def test_no_daemon_is_cluster_unavailable() -> None:
    with pytest.raises(ClusterUnavailable, match="genai up"):
        LocalCluster(f"http://127.0.0.1:{free_port()}", "x").list("Pod")


def test_a_manifest_that_json_cannot_hold_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="JSON"):
        world.cluster.apply([config_map() | {"data": {"when": object()}}])


def with_scratch(world: World, replicas: int = 1) -> dict[str, Any]:
    """A Deployment whose pods answer with the path of their emptyDir."""
    deployment = world.deployment(
        replicas=replicas,
        args=["$(POD_IP)", "8000", "--name", "/scratch"],
        volumeMounts=[{"name": "tmp", "mountPath": "/scratch"}],
    )
    deployment["spec"]["template"]["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    return deployment


def test_a_pods_successor_has_its_empty_dir_at_the_same_path_and_finds_it_empty(world: World) -> None:
    world.up(with_scratch(world), world.service())
    before = Path(until(world.says))
    (before / "left").touch()
    world.cluster.scale("m", 0)
    until(lambda: not before.exists())

    world.cluster.scale("m", 1)

    assert until(world.says) == str(before)
    assert list(before.iterdir()) == []


def test_pods_that_run_at_the_same_time_share_no_empty_dir(world: World) -> None:
    world.up(with_scratch(world, replicas=2))

    paths = {world.http.get(f"http://{pod['status']['podIP']}:8000/").text for pod in world.pods()}

    assert len(paths) == 2
