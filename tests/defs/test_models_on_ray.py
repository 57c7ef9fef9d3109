"""The graph of a model whose engine is Ray: a release goes live, and the page of its candidate says what it risks."""

from dataclasses import replace

import pytest

from genai_pipeline.core.model_file import ModelFiles, parse_model
from genai_pipeline.core.record import Phase
from genai_pipeline.loadtest import load_test
from tests.defs.desk import Desk
from tests.defs.test_models_without_agent import metadata_of
from tests.fakes.world import PROFILE, World

ON_RAY_TEXT = (
    "name: tiny\nsource: {hub: owner/tiny, ref: main}\nagent: none\nserving: {engine: ray, image: 'ray:2.60.0'}\n"
    "rollout: {watch_minutes: 0}\n"
)
ON_RAY = parse_model(ON_RAY_TEXT, "models/tiny.yaml")


@pytest.fixture
def on_ray(desk: Desk) -> Desk:
    desk.load(ModelFiles((ON_RAY,), ()))
    return desk


def services(desk: Desk) -> list[str]:
    return [found["metadata"]["name"] for found in desk.world.cluster.list("RayService")]


def test_two_releases_on_ray_go_live_and_only_the_second_one_runs(on_ray):
    for version in ("v1", "v2"):
        on_ray.world.hub.publish(version)
        assert on_ray.roll_out().success

    record = on_ray.record(on_ray.live)
    assert record.phase is Phase.LIVE
    assert services(on_ray) == [record.as_release.object_name]


def test_the_candidate_says_that_its_head_is_alone_and_with_a_redis_it_says_nothing(on_ray):
    on_ray.world.hub.publish("v1")
    assert on_ray.roll_out().success
    assert "GENAI_RAY_REDIS" in metadata_of(on_ray, "candidate", on_ray.live)["ray_head"].value

    safe = Desk(World(), profile=replace(PROFILE, name="kubernetes", ray_redis="redis:6379"))
    safe.load(ModelFiles((ON_RAY,), ()))
    safe.world.hub.publish("v1")
    assert safe.roll_out().success
    assert "ray_head" not in metadata_of(safe, "candidate", safe.live)


def test_the_report_holds_a_load_for_one_more_replica_where_the_model_file_asks_for_it(desk, monkeypatch):
    asked = []

    def measure(*arguments, scale_out=None, **more):
        asked.append(scale_out and (scale_out.concurrency, scale_out.within_s, scale_out.adds_replicas()))
        return load_test.ServingReport([], {}, [], [], "")

    monkeypatch.setattr("genai_pipeline.loadtest.load_test.measure", measure)
    scaled = ON_RAY_TEXT.replace("}\nrollout", ", startup_deadline_s: 60, replicas: {max: 2}}\nrollout")
    for gates in ("", "gates: {serving: {scale_out: true}}\n"):
        desk.load(ModelFiles((parse_model(scaled + gates, "models/tiny.yaml"),), ()))
        desk.world.hub.publish(f"v{len(asked)}")
        desk.prove()

    assert asked == [None, (40, 90, False)]


def test_without_kuberay_the_candidate_fails_and_nothing_of_it_is_applied(on_ray):
    on_ray.world.cluster.unknown_kinds = {"RayService"}
    on_ray.world.hub.publish("v1")

    assert not on_ray.prove().success

    assert not on_ray.world.cluster.list("Service", {"app.kubernetes.io/component": "engine"})
    assert services(on_ray) == []
