"""What a container is given: variables from ConfigMaps, Secrets and its pod's fields."""

from __future__ import annotations

import json

from tests.conformance.world import World, config_map, secret, until


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
    until(world.says)

    got = json.loads(world.ask("/env"))
    assert (got["COLOUR"], got["KEY"], got["BOTH"]) == ("red", "s3cret", "red-$(KEY)-$(UNKNOWN)")
    assert got["ALL_odd"] == awkward
    assert got["POD"] == world.pods()[0]["metadata"]["name"]
    assert got["POD_IP"] == world.pods()[0]["status"]["podIP"]
    assert "NONE" not in got


def test_a_missing_config_map_keeps_the_pod_waiting_until_it_is_applied(world: World) -> None:
    world.cluster.apply([world.deployment(envFrom=[{"configMapRef": {"name": "settings"}}])])
    until(
        lambda: (
            world.pods()
            and world.container()["state"].get("waiting", {}).get("reason") not in (None, "ContainerCreating")
        )
    )
    assert world.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"

    world.cluster.apply([config_map(a="1")])
    until(lambda: world.container()["ready"], 60)  # a wait for what still says that it lacks something ends at once
    assert world.cluster.wait_ready("m", 60)
