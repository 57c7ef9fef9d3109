"""The token that engines take for the pipeline's, and what a removed release takes with it."""

import pytest

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.engine_cache import ENGINE_ACCESS, TOKEN_KEY, cache_name
from genai_pipeline.rollout.switch.candidates import Candidates
from tests.fakes.world import PROFILE, World

SPEC = parse_model("name: tiny\nsource: {hub: a/b}\nagent: none\n", "f")
EAGER = parse_model("name: tiny\nsource: {hub: a/b}\nagent: none\nserving: {args: {enforce-eager: true}}\n", "f")


@pytest.fixture
def world():
    return World()


def start(world, spec=SPEC, revision="1"):
    release = Release.of(spec, revision * 40)
    candidates = Candidates(world.gateways(), PROFILE, sleep=lambda _: None)
    candidates.start_engine(spec, release, lambda _: None)
    return candidates, release


def token(world):
    found = world.cluster.get("Secret", ENGINE_ACCESS)
    return found and found["stringData"][TOKEN_KEY]


def test_the_first_engine_brings_a_token_that_later_ones_keep(world):
    start(world)
    first = token(world)
    start(world, revision="2")

    assert len(first) >= 32
    assert token(world) == first
    start(other := World())
    assert token(other) != first


def test_an_engine_that_compiles_nothing_needs_none(world):
    start(world, EAGER)

    assert token(world) is None


def test_a_removed_release_takes_along_what_names_its_archive(world):
    candidates, release = start(world)
    meta = {"name": cache_name(release)}
    world.cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"url": "s3://b/a"}}])

    candidates.remove(release)

    assert world.cluster.get("ConfigMap", cache_name(release)) is None
    assert token(world)
