"""The watch through Dagster: its sensor goes back within a tick, its job finishes, the UI's button does both."""

import dagster as dg
import pytest

from genai_pipeline.automation.live_watch_sensor import ROLL_BACK
from genai_pipeline.core.errors import EngineBroken
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.record import Phase
from genai_pipeline.core.run_tags import MODEL_TAG
from genai_pipeline.core.verdict import Asked
from tests.defs.beginnings import begin_from
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import FakeInference

MODEL = """
name: tiny
source: {hub: owner/tiny, ref: main}
rollout: {watch_minutes: 30, breach: {for: 10s}}
"""


class Watch:
    """A desk with a release live and the one before it warm; `tick` is one evaluation of the sensor."""

    def __init__(self, desk):
        self.desk, self.cursor = desk, ""
        desk.load(ModelFiles((model_with_tools(MODEL, "models/tiny.yaml"),), ()))
        begin_from(desk, "watched", self.roll_two_out)
        self.v1, self.v2 = desk.releases
        self.sensor = desk.defs.get_repository_def().get_sensor_def("live_watch")

    @staticmethod
    def roll_two_out(desk):
        for content in ("v1", "v2"):
            desk.world.hub.publish(content)
            assert desk.roll_out().success

    def tick(self):
        with dg.build_sensor_context(
            self.desk.instance,
            cursor=self.cursor,
            repository_def=self.desk.defs.get_repository_def(),
            resources=self.desk.resources,
        ) as context:
            result = self.sensor(context)
        self.cursor = result.cursor
        return result

    def execute(self, run_config, tags=None):
        return self.desk.defs.resolve_job_def(ROLL_BACK).execute_in_process(
            run_config=run_config,
            tags=tags,
            instance=self.desk.instance,
            raise_on_error=False,
        )

    def assert_back(self):
        assert self.desk.live == self.v1
        assert self.desk.record(self.v2).phase is Phase.ROLLED_BACK
        assert self.desk.record(self.v1).phase is Phase.LIVE
        assert self.desk.world.cluster.get("Deployment", f"tiny-{self.v2}") is None


@pytest.fixture
def watch(desk, monkeypatch):
    monkeypatch.setattr("genai_pipeline.evaluation.canary.ask_one", lambda *a: Asked("weather-plain", True, "right"))
    return Watch(desk)


@pytest.fixture
def broken(watch, monkeypatch):
    complete = FakeInference.chat

    def chat(self, model, *args, **kwargs):
        if watch.v2 in model:
            raise EngineBroken("POST answered 500: EngineCore died.")
        return complete(self, model, *args, **kwargs)

    monkeypatch.setattr(FakeInference, "chat", chat)


def test_the_sensor_is_on_from_the_start_and_ticks_at_least_every_ten_seconds(desk):
    sensor = desk.defs.get_repository_def().get_sensor_def("live_watch")

    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds <= 10


def test_a_healthy_release_is_shown_while_it_is_watched(watch):
    result = watch.tick()

    (observation,) = result.asset_events
    assert observation.asset_key == dg.AssetKey(["tiny", "live"])
    assert observation.partition == watch.v2
    assert observation.metadata["outcome"].value == "passed"
    assert not watch.tick().asset_events  # not on every tick
    assert watch.desk.world.cluster.get("Deployment", f"tiny-{watch.v1}")["spec"]["replicas"] == 1


def test_a_bad_release_loses_the_traffic_in_the_tick_and_a_run_finishes(watch, broken):
    results = [watch.tick() for _ in range(3)]

    assert watch.desk.live == watch.v1
    (request,) = results[-1].run_requests
    assert request.job_name == ROLL_BACK
    assert request.run_key == f"rollback:tiny:{watch.v2}:1"
    assert request.tags[MODEL_TAG] == "tiny"
    assert "EngineCore died" in request.tags["genai/reason"]
    assert watch.execute(request.run_config, request.tags).success
    watch.assert_back()
    assert not watch.tick().run_requests


def test_after_a_rollback_the_version_sensor_leaves_the_bad_release_alone(watch, broken):
    for _ in range(3):
        result = watch.tick()
    watch.execute(result.run_requests[0].run_config)

    requests, said = watch.desk.tick()

    assert not requests
    assert "was rolled back" in said


def test_the_job_goes_back_by_hand_and_its_run_is_seen_as_one_of_the_model(watch):
    config = {"ops": {"roll_back_release": {"config": {"model": "tiny", "reason": "users complain"}}}}

    result = watch.execute(config)

    assert result.success
    watch.assert_back()
    shown = watch.desk.instance.get_latest_materialization_event(dg.AssetKey(["tiny", "live"]))
    assert shown.asset_materialization.partition == watch.desk.live
    assert watch.desk.record(watch.v2).reason == "users complain"
    assert watch.desk.instance.get_run_by_id(result.run_id).tags[MODEL_TAG] == "tiny"


def test_the_job_says_why_it_cannot_go_back(watch):
    config = {"ops": {"roll_back_release": {"config": {"model": "tiny", "to": "nonsense"}}}}

    assert not watch.execute(config).success
    assert watch.desk.live == watch.v2
