"""An agent's objects over its life: how many run, what goes with it, what is taken away when it is switched off."""

import dataclasses

import pytest

from genai_pipeline.core.release import Release
from genai_pipeline.rollout.switch.candidates import Candidates
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE, World

SPEC = model_with_tools("name: tiny\nsource: {hub: owner/tiny}\n", "models/tiny.yaml")
RELEASE = Release.of(SPEC, "a" * 40)
NAME = RELEASE.agent_object_name
SCALED = dataclasses.replace(PROFILE, agent_replicas=3, agent_replicas_max=6)


@pytest.fixture
def world():
    return World()


def started(world, profile):
    candidates = Candidates(world.gateways(), profile, sleep=lambda _: None)
    candidates.start_engine(SPEC, RELEASE, lambda _: None)
    candidates.start_agent(SPEC, RELEASE, lambda _: None)
    return candidates


def kinds(world):
    return {kind for kind, name in world.cluster.objects if name == NAME}


def replicas(world):
    return world.cluster.objects[("Deployment", NAME)]["spec"].get("replicas")


def test_one_agent_has_neither_budget_nor_autoscaler(world):
    started(world, PROFILE)

    assert kinds(world) == {"Deployment", "Service"}


def test_an_autoscaled_agent_starts_with_the_fewest_and_not_with_one(world):
    started(world, SCALED)

    assert kinds(world) == {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    assert replicas(world) == 3


def test_what_the_autoscaler_added_is_left_to_it(world):
    candidates = started(world, SCALED)
    world.cluster.scale(NAME, 5)

    candidates.start_agent(SPEC, RELEASE, lambda _: None)

    assert replicas(world) == 5


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        ({}, ["store-access"]),
        ({"agent_store_secret": "conversations"}, ["conversations"]),
        ({"agent_sessions": "memory"}, []),
    ],
)
def test_an_agent_gets_keys_of_the_store_only_where_it_keeps_conversations_there(world, changed, taken):
    started(world, dataclasses.replace(PROFILE, **changed))

    (container,) = world.cluster.objects[("Deployment", NAME)]["spec"]["template"]["spec"]["containers"]
    assert [source["secretRef"]["name"] for source in container.get("envFrom", [])] == taken


def test_nothing_of_an_agent_is_left_behind(world):
    started(world, SCALED).remove(RELEASE)

    assert kinds(world) == set()


def test_a_stopped_agent_comes_back_with_as_many_as_before(world):
    candidates = started(world, SCALED)
    candidates.stop(RELEASE)
    assert replicas(world) == 0

    candidates.restart(SPEC, RELEASE)

    assert replicas(world) == 3
