"""A week of a fake clock, for every schedule: when it is due, clocks that jump included, and what a tick asks for."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from genai_pipeline.automation.rollouts import releases_of
from genai_pipeline.core.model_file import ModelFiles
from tests.defs.beginnings import begin_with
from tests.fakes.model_texts import model_with_tools

BERLIN = ZoneInfo("Europe/Berlin")
ASIDE = "name: aside\nsource: {hub: owner/aside}\nrefresh: {evaluation: 'off'}\n"
TINY = """
name: tiny
source: {hub: owner/tiny, ref: main}
refresh: {evaluation: "30 2 * * *", timezone: Europe/Berlin}
"""
WEEKS = {  # the clocks of Berlin go forward on 29 March and back on 25 October 2026
    "plain": datetime(2026, 6, 1, tzinfo=BERLIN),
    "spring": datetime(2026, 3, 26, tzinfo=BERLIN),
    "autumn": datetime(2026, 10, 22, tzinfo=BERLIN),
}
FOURTH_DAYS = {week: (start + timedelta(days=3)).date() for week, start in WEEKS.items()}
"""On which those clocks jump."""


@pytest.fixture
def week_desk(desk):
    begin_with(desk, "v1")
    with dg.instance_for_test() as instance:  # a schedule's context opens it by its reference
        instance.add_dynamic_partitions(releases_of(desk.spec).name, desk.releases)
        desk.instance = instance
        desk.load(
            ModelFiles((model_with_tools(TINY, "models/tiny.yaml"), model_with_tools(ASIDE, "models/aside.yaml")), ())
        )
        yield desk


def ticks(schedule, start):
    """When Dagster evaluates it within a week, by its own iterator."""
    due = schedule_execution_time_iterator(start.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    return list(takewhile(lambda at: at < start + timedelta(days=7), due))


@pytest.mark.parametrize("week", WEEKS)
def test_every_schedule_ticks_when_it_should_and_every_tick_can_be_evaluated(week_desk, week):
    desk, counted = week_desk, Counter()
    repository = desk.defs.get_repository_def()

    for schedule in desk.defs.schedules:
        for at in ticks(schedule, WEEKS[week]):
            counted[schedule.name] += 1
            jumps = at.astimezone(BERLIN).date() == FOURTH_DAYS[week]
            if counted[schedule.name] > 1 and (at.hour % 6 or not jumps):  # an evaluation takes a tenth of a second
                continue
            with dg.build_schedule_context(
                desk.instance, scheduled_execution_time=at, repository_def=repository, resources=desk.resources
            ) as context:
                asked = schedule.evaluate_tick(context)
            assert len(asked.run_requests) == 1, (schedule.name, at, asked.skip_message)

    hours = 7 * 24 + {"plain": 0, "spring": -1, "autumn": 1}[week]
    assert counted["live_drift"] == hours
    assert counted["live_capacity"] in (28, 29)
    assert counted["verify_staged"] == 7
    assert counted["prune"] == 1
    assert counted["evaluate_tiny"] == 7
    assert set(counted) == {"live_drift", "live_capacity", "verify_staged", "prune", "evaluate_tiny"}


@pytest.mark.parametrize("week", WEEKS)
def test_a_model_is_evaluated_on_its_own_clocks_once_a_day_also_where_they_jump(week_desk, week):
    schedule = next(s for s in week_desk.defs.schedules if s.name == "evaluate_tiny")

    local = [at.astimezone(BERLIN) for at in ticks(schedule, WEEKS[week])]

    assert len({at.date() for at in local}) == len(local) == 7
    skipped = {datetime(2026, 3, 29).date()}  # there is no half past two
    assert {(at.hour, at.minute) for at in local if at.date() not in skipped} == {(2, 30)}


def test_a_model_that_someone_has_in_hand_is_left_out_of_the_drift_tick_and_not_evaluated(week_desk):
    desk = week_desk
    job = desk.defs.resolve_job_def("rollout_tiny")
    desk.instance.create_run_for_job(job, tags={"genai/model": "tiny"}, status=dg.DagsterRunStatus.STARTED)
    schedules = {s.name: s for s in desk.defs.schedules}

    for name in ("evaluate_tiny", "live_drift"):
        with dg.build_schedule_context(
            desk.instance,
            repository_def=desk.defs.get_repository_def(),
            scheduled_execution_time=WEEKS["plain"],
            resources=desk.resources,
        ) as context:
            asked = schedules[name].evaluate_tick(context)
        assert asked.run_requests == []
        assert "under way" in asked.skip_message


def test_a_store_that_is_down_is_left_to_the_run_to_show(week_desk):
    desk = week_desk
    desk.world.store.go_down()
    (schedule,) = (s for s in desk.defs.schedules if s.name == "evaluate_tiny")
    repository = desk.defs.get_repository_def()
    with dg.build_schedule_context(desk.instance, repository_def=repository, resources=desk.resources) as context:
        assert len(schedule.evaluate_tick(context).run_requests) == 1


def test_a_run_for_one_model_compares_that_one_only(week_desk):
    key = dg.AssetCheckKey(dg.AssetKey(["tiny", "live"]), "matches_rendered")
    job = week_desk.defs.resolve_job_def("live_drift").get_subset(asset_check_selection={key})

    result = job.execute_in_process(instance=week_desk.instance)

    assert [e.asset_check_key for e in result.get_asset_check_evaluations()] == [key]
