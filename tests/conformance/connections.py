"""Kept connections: they stay with their pod until the pod ends them, and a pod that stops ends them without harm.

Asked through the Services' own addresses only: the API server's proxy chooses a pod per request.
"""

from __future__ import annotations

import httpx

from tests.conformance.traffic import Load, blue_and_green
from tests.conformance.world import World, until

DRAIN = {"preStop": {"httpGet": {"path": "/drain?s=2", "port": "http"}}}
"""A pod that is to end closes every connection with its next answer."""


def test_a_kept_connection_stays_with_its_pod_and_new_ones_follow_the_selector(world: World) -> None:
    url = blue_and_green(world)
    with httpx.Client(trust_env=False, timeout=10) as kept:
        assert kept.get(url).text == "blue"
        world.up(world.service("m", app="green"))
        until(lambda: world.says() == "green")

        assert [kept.get(url).text for _ in range(3)] == ["blue"] * 3
        assert world.says() == "green"


def test_a_stop_ends_kept_connections_without_a_failed_request(world: World) -> None:
    url = blue_and_green(world, DRAIN)

    with Load(lambda client: client.get(url).raise_for_status().text) as load:
        until(lambda: load.count > 20)
        world.up(world.service("m", app="green"))
        world.cluster.scale("blue", 0)
        world.cluster.wait_gone({"app": "blue"}, 30)
        until(lambda: load.all_say("green"))

    assert load.failures == []
    assert load.never_went_back
