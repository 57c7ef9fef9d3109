"""Firing alerts in the Dagster UI: the sensor reports them at m/live, and the check may be asked by hand."""

import dagster as dg
import pytest

from genai_pipeline.core.model_file import ModelFiles
from tests.defs.desk import MODEL
from tests.defs.upkeep_desk import end_watch
from tests.fakes.model_texts import model_with_tools

KEY = dg.AssetCheckKey(dg.AssetKey(["tiny", "live"]), "alerts_quiet")


class Alerts:
    """A desk with a live release, and the alerts that its Prometheus says fire."""

    def __init__(self, desk):
        self.desk, self.cursor = desk, ""
        desk.load(ModelFiles((model_with_tools(MODEL, "models/tiny.yaml"),), ()))
        desk.world.hub.publish("v1")
        assert desk.roll_out().success
        end_watch(desk)
        self.firing = desk.world.samples["ALERTS"] = []
        desk.world.samples["genai:gate"] = [("genai:gate", {}, 1.0)]

    def fire(self):
        labels = {"alertname": "GenaiQueueLong", "namespace": "genai", "model": "tiny", "release": self.desk.live}
        self.firing.append(("ALERTS", labels, 1.0))

    def tick(self):
        repository = self.desk.defs.get_repository_def()
        with dg.build_sensor_context(
            self.desk.instance, cursor=self.cursor, repository_def=repository, resources=self.desk.resources
        ) as context:
            result = repository.get_sensor_def("alerts")(context)
        self.cursor = result.cursor
        return result.asset_events


@pytest.fixture
def alerts(desk):
    return Alerts(desk)


def test_an_alert_that_fires_is_an_evaluation_and_so_is_its_end(alerts):
    (quiet,) = alerts.tick()
    alerts.fire()
    (firing,) = alerts.tick()
    alerts.firing.clear()
    (resolved,) = alerts.tick()

    assert [(e.asset_check_key, e.passed) for e in (quiet, firing, resolved)] == [
        (KEY, True),
        (KEY, False),
        (KEY, True),
    ]
    assert firing.severity is dg.AssetCheckSeverity.ERROR
    assert "GenaiQueueLong" in firing.description


def test_what_goes_on_is_reported_once(alerts):
    alerts.fire()
    alerts.tick()

    assert alerts.tick() == []


def test_without_a_prometheus_it_is_a_warning_and_not_passed(alerts):
    del alerts.desk.world.samples["ALERTS"], alerts.desk.world.samples["genai:gate"]

    (unknown,) = alerts.tick()

    assert (unknown.passed, unknown.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert unknown.metadata["outcome"].value == "inconclusive"


def test_dagster_keeps_what_the_sensor_reports_and_the_check_can_be_asked_by_hand(alerts):
    alerts.fire()
    (firing,) = alerts.tick()
    instance = alerts.desk.instance
    instance.report_runless_asset_event(firing)
    (kept,) = instance.event_log_storage.get_asset_check_execution_history(KEY, limit=1)
    assert kept.event.asset_check_evaluation.passed is False

    checks = dg.AssetSelection.checks(KEY)
    job = dg.Definitions.merge(alerts.desk.defs, dg.Definitions(jobs=[dg.define_asset_job("by_hand", checks)]))
    result = job.resolve_job_def("by_hand").execute_in_process(instance=instance)

    assert [e.passed for e in result.get_asset_check_evaluations()] == [False]
