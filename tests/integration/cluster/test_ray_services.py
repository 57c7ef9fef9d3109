"""RayServices of the local cluster, with a stand-in for `ray start`. The conformance suite has the real one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from genai_pipeline.local.cluster.ray_dashboard import PATH
from genai_pipeline.local.cluster.ray_proxy import AtPodAddress
from genai_pipeline.local.ports import free_port
from genai_pipeline.local.supervision.supervisor import Supervisor
from tests.conformance.ray_services import apply, pods, ray_service, ready
from tests.conformance.world import until
from tests.integration.cluster.conftest import Daemon, LocalWorld, with_stand_in

RAY_START = Path(__file__).parents[2] / "fakes" / "ray_start.py"
WITHIN_S = 60


@pytest.fixture(scope="module")
def ray_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon beside whose interpreter lies the stand-in."""
    home = tmp_path_factory.mktemp("lc")
    daemon = Daemon(home, python=with_stand_in(home / "venv", "ray", RAY_START)).start()
    yield daemon
    daemon.stop()
    Supervisor(daemon.home).shutdown()


@pytest.fixture
def world(ray_daemon: Daemon) -> Iterator[LocalWorld]:
    world = ray_daemon.world()
    yield world
    for name in ("m", "n"):
        world.cluster.delete("RayService", name)
        world.cluster.wait_gone({"app": name}, WITHIN_S)
        world.cluster.delete("Service", name)
    world.http.close()


def get_ready(world: LocalWorld, *services: dict[str, Any]) -> None:
    apply(world, *services)
    for service in services:
        until(lambda name=service["metadata"]["name"]: ready(world, name), WITHIN_S)


def dashboard(world: LocalWorld, name: str = "m") -> tuple[str, dict[str, str]]:
    """The address of the head's dashboard, and what it wants to see."""
    (head,) = pods(world, "head", name)
    secret = world.cluster.get("Secret", head["metadata"]["labels"]["ray.io/cluster"])
    assert secret
    token = base64.b64decode(secret["data"]["auth_token"]).decode()
    return f"http://{head['status']['podIP']}:8265", {"Authorization": f"Bearer {token}"}


def uids(found: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in found}


def test_a_ray_service_gets_ready_and_its_worker_answers_behind_both_services(world: LocalWorld) -> None:
    get_ready(world, ray_service())

    (head,), (worker,) = pods(world, "head"), pods(world, "worker")
    for service in ("m", "m-serve-svc"):
        said = world.http.get(world.cluster.endpoint(service)).text
        assert said.startswith(f"{worker['status']['podIP']} of {head['status']['podIP']}:")
    assert "ray_serve_" in world.http.get(world.cluster.endpoint("m", 8080)).text
    reasons = {event.reason for event in world.cluster.events("RayService", "m")}
    assert {"CreatedHeadPod", "CreatedWorkerPod", "UpdatedServeApplications"} <= reasons


def test_two_ray_services_run_side_by_side_with_a_token_each(world: LocalWorld) -> None:
    get_ready(world, ray_service(), ray_service("n"))

    (one, mine), (two, others) = dashboard(world), dashboard(world, "n")
    assert world.http.get(one + PATH, headers=mine).json()["told"]["http_options"]["port"] == 0
    assert world.http.get(two + PATH, headers=others).status_code == 200
    assert world.http.get(one + PATH, headers=others).status_code == 401
    assert world.http.get(world.cluster.endpoint("m")).text != world.http.get(world.cluster.endpoint("n")).text


def test_an_application_that_cannot_be_deployed_is_told_and_never_ready(world: LocalWorld) -> None:
    service = ray_service()
    service["spec"]["serveConfigV2"] = service["spec"]["serveConfigV2"].replace("app:build", "broken:build")
    apply(world, service)

    def failed() -> bool:
        pending = (world.object("RayService", "m").get("status") or {}).get("pendingServiceStatus") or {}
        app = (pending.get("applicationStatuses") or {}).get("app") or {}
        return app.get("status") == "DEPLOY_FAILED" and app["message"] == "no module named broken"

    until(failed, WITHIN_S)
    assert not ready(world)


def test_a_head_that_crashed_gets_the_applications_again(world: LocalWorld) -> None:
    get_ready(world, ray_service())
    address, token = dashboard(world)
    with pytest.raises(httpx.HTTPError):
        world.http.post(f"{address}/crash")

    def told() -> bool:
        try:
            return bool(world.http.get(address + PATH, headers=token).json()["applications"])
        except httpx.HTTPError:
            return False

    until(told, WITHIN_S)


def test_a_deleted_head_comes_back_where_it_was_and_a_deleted_worker_elsewhere(world: LocalWorld) -> None:
    get_ready(world, ray_service())
    (head,), (worker,) = pods(world, "head"), pods(world, "worker")
    for pod in (head, worker):
        world.cluster.delete("Pod", pod["metadata"]["name"])

    until(lambda: uids([head, worker]).isdisjoint(uids(world.pods())) and len(world.pods()) == 2, WITHIN_S)

    assert pods(world, "head")[0]["status"]["podIP"] == head["status"]["podIP"]
    until(lambda: ready(world) and world.says(), WITHIN_S)


def test_a_deleted_ray_service_leaves_nothing(world: LocalWorld) -> None:
    get_ready(world, ray_service())
    cluster = pods(world, "head")[0]["metadata"]["labels"]["ray.io/cluster"]

    world.cluster.delete("RayService", "m")
    world.cluster.wait_gone({"app": "m"}, WITHIN_S)

    gone = [("Secret", cluster), ("Service", "m-serve-svc"), ("RayService", "m")]
    until(lambda: not any(world.cluster.get(kind, name) for kind, name in gone))


def test_a_new_daemon_takes_a_ray_service_over(ray_daemon: Daemon, world: LocalWorld) -> None:
    get_ready(world, ray_service())
    before = uids(world.pods())
    ray_daemon.stop(kill=True)
    ray_daemon.start()

    until(lambda: ready(world) and world.says(), WITHIN_S)

    assert uids(world.pods()) == before


def test_a_proxy_serves_what_it_wraps_at_the_address_of_its_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async def asked(url: str) -> str:
        wrapped = AtPodAddress(app)
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=5)) as client:
            answer = await client.get(url)
        with pytest.raises(OSError, match="in use"):
            AtPodAddress(wrapped)
        return answer.text

    address = f"127.77.250.9:{free_port()}"
    monkeypatch.setenv("GENAI_SERVE_ADDRESS", address)
    monkeypatch.setenv("GENAI_SERVE_KEEP_ALIVE_S", "5")

    assert asyncio.run(asked(f"http://{address}/x")) == "/x"
