from dataclasses import replace

import pytest

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.record import Live, Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.rollout.plan import Step, plan_rollout

SPEC = parse_model("name: tiny\nsource: {hub: a/b}\nrollout: {max_attempts: 2}\n", "tiny.yaml")
RELEASE = Release.of(SPEC, "a" * 40)
RECORD = Record("tiny", RELEASE.id, RELEASE.revision, {}).with_event("2026-01-01T00:00:00Z", "run requested")
LIVE = Live(RELEASE.id, RELEASE.revision, "2026-01-01T00:00:00Z")
LATER = "2026-01-02T00:00:00Z"


def step(record=RECORD, live=None, busy=False, spec=SPEC, now=LATER):
    return plan_rollout(spec, RELEASE, record, live, busy, now).step


def test_a_release_never_seen_is_started():
    assert step(record=None) is Step.START


def test_the_live_release_is_left_alone():
    assert step(live=LIVE) is Step.NOTHING


def test_one_rollout_of_a_model_at_a_time():
    assert step(record=None, busy=True) is Step.NOTHING


def test_a_paused_model_is_left_alone():
    paused = parse_model("name: tiny\nsource: {hub: a/b}\nrollout: {paused: true}\n", "f")

    assert step(record=None, spec=paused) is Step.NOTHING


@pytest.mark.parametrize("phase", [Phase.REJECTED, Phase.ROLLED_BACK])
def test_a_release_that_ended_badly_is_not_tried_again_and_the_reason_is_given(phase):
    plan = plan_rollout(SPEC, RELEASE, RECORD.in_phase(phase, "wrong tool"), None, False, LATER)

    assert plan.step is Step.NOTHING
    assert "wrong tool" in plan.why


@pytest.mark.parametrize("phase", [Phase.REPLACED, Phase.LIVE])
def test_a_release_that_was_live_before_is_proven_anew(phase):
    assert step(RECORD.in_phase(phase)) is Step.REOPEN


def test_an_attempt_without_a_verdict_is_repeated_after_a_pause():
    tried = RECORD.attempted()

    assert step(tried, now="2026-01-01T00:00:05Z") is Step.NOTHING
    assert step(tried, now="2026-01-01T00:00:11Z") is Step.START


def test_the_attempts_of_a_release_are_bounded():
    assert step(RECORD.attempted().attempted()) is Step.GIVE_UP


def test_attempts_of_an_earlier_rollout_do_not_count():
    again = replace(RECORD.attempted().attempted(), phase=Phase.REPLACED).reopened()

    assert step(again) is Step.START
