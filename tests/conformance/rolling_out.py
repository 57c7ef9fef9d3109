"""Rollouts, scaling, and waiting for them."""

from __future__ import annotations

import itertools

import pytest

from genai_pipeline.core.errors import NotFound, NotReady
from tests.conformance.world import World, until, with_spec


def test_a_deployment_becomes_ready_and_its_service_answers(world: World) -> None:
    said: list[str] = []
    world.cluster.apply([world.deployment(says="hello"), world.service()])
    ready = world.cluster.wait_ready("m", 60, said.append)

    assert ready["status"]["availableReplicas"] == 1
    assert until(world.says) == "hello"
    assert said[-1].startswith("1 of 1 replicas available")
    assert [one for one, next_ in itertools.pairwise(said) if one == next_] == []


def test_a_changed_template_replaces_the_pods(world: World) -> None:
    world.up(world.deployment(says="one"), world.service())
    (old,) = world.pods()
    world.up(world.deployment(says="two"))

    until(lambda: len(world.pods()) == 1)
    (new,) = world.pods()
    assert until(world.says) == "two"
    assert new["metadata"]["labels"]["pod-template-hash"] != old["metadata"]["labels"]["pod-template-hash"]


def test_a_wait_is_for_the_newest_generation(world: World) -> None:
    world.up(world.deployment(says="one"))
    world.cluster.apply([world.deployment(says="two")])

    ready = world.cluster.wait_ready("m", 60)

    assert ready["status"]["observedGeneration"] == ready["metadata"]["generation"] == 2
    assert "two" in {p["metadata"]["labels"]["says"] for p in world.pods()}


def test_a_rollout_that_cannot_start_leaves_the_old_pods_serving(world: World) -> None:
    world.up(world.deployment(says="one"), world.service())
    world.cluster.apply([world.deployment(says="two", image="nowhere/unknown:9", imagePullPolicy="Never")])

    with pytest.raises(NotReady):
        world.cluster.wait_ready("m", 60)

    assert world.ask() == "one"


def test_recreate_ends_the_old_pods_before_it_starts_new_ones(world: World) -> None:
    seen: list[int] = []
    recreate = {"type": "Recreate"}
    world.up(with_spec(world.deployment(says="one"), strategy=recreate))
    world.cluster.apply([with_spec(world.deployment(says="two"), strategy=recreate)])

    def replaced() -> bool:
        pods = world.pods()
        seen.append(len(pods))
        return [p["metadata"]["labels"]["says"] for p in pods] == ["two"]

    until(replaced)
    assert max(seen) == 1


def test_scaling_up_spreads_requests_over_all_ready_pods(world: World) -> None:
    world.up(world.deployment(), world.service())
    world.cluster.scale("m", 2)
    world.cluster.wait_ready("m", 60)

    assert until(lambda: len({world.ask("/address") for _ in range(8)}) == 2)


def test_scaled_to_zero_its_pods_go_and_its_service_refuses(world: World) -> None:
    world.up(world.deployment(), world.service())
    world.cluster.scale("m", 0)
    world.cluster.wait_gone({"app": "m"}, 30)

    until(world.refuses)
    assert world.cluster.wait_ready("m", 10)["status"].get("availableReplicas", 0) == 0


def test_what_was_scaled_is_set_back_by_the_next_apply(world: World) -> None:
    world.cluster.apply([world.deployment(replicas=0)])
    world.cluster.scale("m", 1)
    assert [(d.field, d.wanted, d.live) for d in world.cluster.diff([world.deployment(replicas=0)])] == [
        ("spec.replicas", 0, 1)
    ]

    assert [a.action for a in world.cluster.apply([world.deployment(replicas=0)])] == ["configured"]
    assert world.object("Deployment", "m")["spec"]["replicas"] == 0


def test_scaling_what_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.cluster.scale("nothing", 1)
