from dataclasses import replace
from datetime import datetime

import pytest

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.record import Live, Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import passed
from genai_pipeline.rollout.control.rollout_plan import RolloutStep, Situation, plan_rollout
from tests.fakes.model_texts import model_with_tools


def spec(rollout="max_attempts: 2"):
    return model_with_tools(f"name: tiny\nsource: {{hub: a/b}}\nrollout: {{{rollout}}}\n", "tiny.yaml")


SPEC = spec()
RELEASE = Release.of(SPEC, "a" * 40)
OTHER = Release.of(SPEC, "b" * 40)
RECORD = Record("tiny", RELEASE.id, RELEASE.revision, {}).with_event("2026-01-01T00:00:00Z", "run requested")
BEFORE = replace(RECORD, release=OTHER.id, revision=OTHER.revision, phase=Phase.LIVE)
LIVE = Live(OTHER.id, OTHER.revision, "2026-01-01T00:00:00Z")
THURSDAY = "2026-01-01T00:00:10Z"
LATER = "2026-01-02T00:00:00Z"
OFFICE_HOURS = 'max_attempts: 2, window: "Mon-Fri 09:00-17:00"'


def proven(record=RECORD):
    for asset, checks in CHECKS.items():
        if asset != "live":
            record = record.with_verdicts(asset, [passed(check, "fine") for check in checks], 1.0)
    return record


def plan(*records, live=None, busy="", full="", of=SPEC, now=LATER):
    known = {record.release: record for record in records}
    return plan_rollout(Situation(of, RELEASE, live, known, busy, full, datetime.fromisoformat(now)))


def step(*records, **about):
    return plan(*records, **about).step


def test_a_release_never_seen_is_started():
    assert step() is RolloutStep.START


def test_the_live_release_is_left_alone():
    assert step(RECORD.in_phase(Phase.LIVE), live=replace(LIVE, release=RELEASE.id)) is RolloutStep.NOTHING


def test_one_rollout_of_a_model_at_a_time_and_it_is_said_which():
    found = plan(busy="rollout_tiny of b (run 1234)")

    assert found.step is RolloutStep.NOTHING
    assert "rollout_tiny of b (run 1234) is under way" in found.why


def test_a_paused_model_is_left_alone():
    assert step(of=spec("paused: true")) is RolloutStep.NOTHING


@pytest.mark.parametrize("phase", [Phase.REJECTED, Phase.ROLLED_BACK])
def test_a_release_that_ended_badly_is_not_tried_again_and_the_reason_is_given(phase):
    found = plan(RECORD.in_phase(phase, "wrong tool"))

    assert found.step is RolloutStep.NOTHING
    assert "wrong tool" in found.why


@pytest.mark.parametrize("phase", [Phase.REPLACED, Phase.LIVE])
def test_a_release_that_was_live_before_is_proven_again(phase):
    assert step(RECORD.in_phase(phase)) is RolloutStep.REOPEN


def test_a_superseded_release_that_is_asked_for_again_is_proven_again_after_a_pause():
    superseded = RECORD.attempted().in_phase(Phase.SUPERSEDED)

    assert step(superseded, now="2026-01-01T00:00:05Z") is RolloutStep.NOTHING
    assert step(superseded, now="2026-01-01T00:00:11Z") is RolloutStep.REOPEN


def test_the_pauses_of_a_ref_that_goes_to_and_fro_grow_with_every_rollout_of_it():
    superseded = RECORD.attempted().attempted().attempted().in_phase(Phase.SUPERSEDED)

    assert step(superseded, now="2026-01-01T00:02:30Z") is RolloutStep.NOTHING
    assert step(superseded, now="2026-01-01T00:02:41Z") is RolloutStep.REOPEN


def test_an_attempt_without_a_verdict_is_repeated_after_a_pause():
    tried = RECORD.attempted()

    assert step(tried, now="2026-01-01T00:00:05Z") is RolloutStep.NOTHING
    assert step(tried, now="2026-01-01T00:00:11Z") is RolloutStep.START


def test_the_attempts_of_a_release_are_bounded():
    assert step(RECORD.attempted().attempted()) is RolloutStep.GIVE_UP


def test_an_attempt_that_the_user_ended_does_not_count_once():
    stopped = RECORD.attempted().attempted().interrupted(2)

    assert step(stopped) is RolloutStep.START
    assert (stopped.attempt, stopped.interrupted(1)) == (2, stopped)


def test_attempts_of_an_earlier_rollout_do_not_count():
    again = replace(RECORD.attempted().attempted(), phase=Phase.REPLACED).reopened()

    assert step(again) is RolloutStep.START


def test_a_first_release_that_is_watched_may_be_replaced_since_nothing_is_kept_warm_for_it():
    first = replace(LIVE, watched_until="2026-01-01T00:30:00Z", last_good=None)

    assert plan(BEFORE, live=first).step is RolloutStep.START


def test_nothing_starts_while_the_live_release_is_being_watched():
    watched = replace(LIVE, watched_until="2026-01-01T00:30:00Z", last_good="0" * 19)

    found = plan(BEFORE, live=watched)

    assert found.step is RolloutStep.NOTHING
    assert f"{OTHER.id} is being watched until 2026-01-01T00:30:00Z; the next rollout starts then" in found.why


def test_nothing_starts_while_a_rollback_is_at_work_but_one_that_does_not_end_holds_nothing_back_for_ever():
    bad = BEFORE.in_phase(Phase.ROLLED_BACK, "500s")

    assert step(bad, live=LIVE, now="2026-01-01T00:29:00Z") is RolloutStep.NOTHING
    assert step(bad, live=LIVE, now="2026-01-01T00:31:00Z") is RolloutStep.START


def test_a_cut_over_that_was_interrupted_after_its_pointer_is_finished_first():
    half = proven(BEFORE.attempted())

    found = plan(half, live=LIVE)

    assert (found.step, found.release) == (RolloutStep.PROMOTE, OTHER.id)
    assert step(replace(half, promotions=2), live=LIVE) is RolloutStep.START, "but not for ever"


def test_outside_its_window_nothing_starts_and_the_next_opening_is_said():
    found = plan(of=spec(OFFICE_HOURS), now=THURSDAY)

    assert found.step is RolloutStep.NOTHING
    assert "closed until 2026-01-01T09:00:00Z" in found.why
    assert step(of=spec(OFFICE_HOURS), now="2026-01-01T09:00:00Z") is RolloutStep.START


def test_a_proven_candidate_waits_while_the_window_is_closed_and_is_promoted_when_it_opens():
    held = proven(RECORD.attempted())

    assert step(held, of=spec(OFFICE_HOURS), now="2026-01-01T01:00:00Z") is RolloutStep.NOTHING
    assert step(held, of=spec(OFFICE_HOURS), now="2026-01-01T09:00:00Z") is RolloutStep.PROMOTE
    assert step(held, now="2025-12-31T23:59:59Z") is RolloutStep.PROMOTE, "the run's clock may be ahead of the sensor's"


def test_no_rollout_starts_while_the_cluster_has_its_hands_full_but_a_promotion_does():
    assert step(full="2 rollouts are under way") is RolloutStep.NOTHING
    assert step(proven(RECORD.attempted()), full="2 rollouts are under way") is RolloutStep.PROMOTE


def test_with_manual_approval_a_proven_release_asks_then_waits_then_is_promoted():
    manual = spec("max_attempts: 2, approval: manual")
    record = proven(RECORD.attempted())
    waiting = record.in_phase(Phase.AWAITING_APPROVAL)

    assert step(record, of=manual) is RolloutStep.ASK
    assert step(waiting, of=manual) is RolloutStep.NOTHING
    assert f"genai approve tiny@{RELEASE.id}" in plan(waiting, of=manual).why
    assert step(replace(waiting, approved="me at noon"), of=manual) is RolloutStep.PROMOTE
    assert step(waiting, of=SPEC) is RolloutStep.PROMOTE, "approval is asked for no more"


def test_an_approved_release_still_waits_for_its_window():
    manual = spec(OFFICE_HOURS + ", approval: manual")
    approved = replace(proven(RECORD.attempted()).in_phase(Phase.AWAITING_APPROVAL), approved="me at noon")

    assert step(approved, of=manual, now=THURSDAY) is RolloutStep.NOTHING
    assert step(approved, of=manual, now="2026-01-01T09:00:00Z") is RolloutStep.PROMOTE


def test_promotions_are_bounded_then_the_release_is_proven_again_then_it_is_given_up():
    record = replace(proven(RECORD.attempted()), promotions=2)

    assert step(record) is RolloutStep.START
    assert step(replace(record, attempt=2)) is RolloutStep.GIVE_UP


def test_a_release_that_is_not_all_passed_is_never_promoted():
    for missing in proven().verdicts:
        record = proven(RECORD.attempted())
        record = replace(record, verdicts={k: v for k, v in record.verdicts.items() if k != missing})

        assert step(record) is not RolloutStep.PROMOTE


def test_another_release_on_its_way_is_superseded_unless_it_is_live():
    for phase in (Phase.ROLLING_OUT, Phase.AWAITING_APPROVAL):
        other = BEFORE.in_phase(phase)
        of = Situation(SPEC, RELEASE, None, {other.release: other})

        assert of.superseded == [other]
        assert replace(of, live=LIVE).superseded == []
        assert replace(of, spec=spec("paused: true")).superseded == []


@pytest.mark.parametrize("phase", [Phase.REPLACED, Phase.LIVE, Phase.REJECTED, Phase.ROLLED_BACK, Phase.SUPERSEDED])
def test_what_came_to_its_end_is_not_superseded(phase):
    other = BEFORE.in_phase(phase)

    assert Situation(SPEC, RELEASE, None, {other.release: other}).superseded == []
