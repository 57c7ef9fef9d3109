"""Startup, readiness and liveness probes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.world import World, until


def test_a_pod_that_is_not_ready_gets_no_requests_until_it_is(world: World) -> None:
    world.up(world.deployment(), world.service())
    address = world.address()
    world.http.post(f"{address}/healthz/off")
    until(world.refuses)

    world.http.post(f"{address}/healthz/on")
    until(world.says)
    assert world.container()["restartCount"] == 0


def test_a_failing_liveness_probe_restarts_the_container(world: World) -> None:
    probe = {"httpGet": {"path": "/healthz", "port": 8000}, "periodSeconds": 1}
    probes = {"startupProbe": probe, "livenessProbe": probe | {"failureThreshold": 1}, "readinessProbe": None}
    world.up(world.deployment(**probes), world.service())
    world.http.post(f"{world.address()}/healthz/off")

    until(lambda: world.container()["restartCount"] == 1)
    assert until(world.says) == "one"


@pytest.mark.parametrize("how", ["tcpSocket", "exec"])
def test_startup_and_readiness_may_be_probed_by(world: World, how: str) -> None:
    command = [world.python, "-c", "import os; os.environ['POD_IP']"]
    probe: dict[str, Any] = {"tcpSocket": {"port": "http"}} if how == "tcpSocket" else {"exec": {"command": command}}
    slow = {"periodSeconds": 1, "timeoutSeconds": 5}
    world.up(world.deployment(startupProbe=probe | slow, readinessProbe=probe | slow), world.service())

    assert world.container()["ready"]


def test_a_service_may_reach_a_pod_that_is_not_ready(world: World) -> None:
    """The pipeline wakes a standby through such a Service, while users do not get there."""
    behind = world.service("standby", app="m")
    behind["spec"]["publishNotReadyAddresses"] = True
    world.up(world.deployment(), world.service(), behind)
    world.http.post(f"{world.address()}/healthz/off")
    until(world.refuses)

    assert until(lambda: world.says("standby")) == "one"
    assert world.refuses()
