"""What Dagster takes for fresh, asked of Dagster itself: the daemon's own evaluation of the policies."""

import asyncio
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.freshness_evaluator import TimeWindowFreshnessPolicyEvaluator
from dagster._core.test_utils import freeze_time
from dagster._time import get_current_datetime

from genai_pipeline.assets.freshness import freshness_of
from genai_pipeline.core.model_file import ModelFiles
from tests.defs.beginnings import begin_with
from tests.defs.upkeep_desk import run
from tests.fakes.model_texts import model_with_tools

DAY = timedelta(days=1)


def spec(cron):
    return model_with_tools(f"name: tiny\nsource: {{hub: owner/tiny}}\nrefresh: {{evaluation: {cron}}}\n", "tiny.yaml")


class Loading:
    """The little of a request's context that the daemon's evaluator reads an asset's record with."""

    def __init__(self, instance):
        self.instance = instance


def state(desk, asset, later, monkeypatch):
    from dagster._core.storage.event_log.base import AssetRecord

    key = dg.AssetKey(["tiny", asset])

    async def gen(context, asked):
        (record,) = desk.instance.get_asset_records([asked]) or [None]
        return record

    monkeypatch.setattr(AssetRecord, "gen", gen)
    node = desk.defs.resolve_asset_graph().get(key)
    with freeze_time(get_current_datetime() + later):
        return asyncio.run(TimeWindowFreshnessPolicyEvaluator().evaluate_freshness(Loading(desk.instance), node))


def test_one_evaluation_that_did_not_come_is_a_warning_and_two_are_a_failure(desk, monkeypatch):
    begin_with(desk, "v1")

    for asset in ("live", "agent_report", "serving_report"):
        found = [state(desk, asset, later, monkeypatch) for later in (0 * DAY, 0.9 * DAY, 1.5 * DAY, 2.5 * DAY)]
        assert found == [FreshnessState.PASS, FreshnessState.PASS, FreshnessState.WARN, FreshnessState.FAIL]


def test_the_evaluation_keeps_what_it_proved_fresh_whichever_partition_came_before(desk, monkeypatch):
    begin_with(desk, "v1", "v2")
    with freeze_time(get_current_datetime() + 1.5 * DAY):
        run(desk, "evaluate_tiny")

    assert state(desk, "live", 2.4 * DAY, monkeypatch) is FreshnessState.PASS
    assert state(desk, "agent_report", 2.4 * DAY, monkeypatch) is FreshnessState.PASS


def test_where_nothing_is_evaluated_again_nothing_is_promised(desk):
    desk.load(ModelFiles((spec("off"),), ()))
    graph = desk.defs.resolve_asset_graph()
    assert all(graph.get(key).freshness_policy is None for key in graph.get_all_asset_keys())
    assert "evaluate_tiny" not in {s.name for s in desk.defs.schedules}


@pytest.mark.parametrize(
    ("cron", "gap_h"), [("'23 5 * * *'", 24), ("'0 5 * * 1'", 168), ("'0 9-17 * * 1-5'", 64), ("'*/30 * * * *'", 0.5)]
)
def test_the_window_is_as_long_as_the_schedules_longest_pause(cron, gap_h):
    policy = freshness_of(spec(cron), "live")
    assert policy.warn_window.to_timedelta() == timedelta(hours=gap_h + 1)
    assert policy.fail_window.to_timedelta() == timedelta(hours=2 * gap_h + 1)
    assert freshness_of(spec(cron), "candidate") is None
