from dataclasses import replace

import pytest

from genai_pipeline.cli.rollout_progress import ENDS, ProgressReader, State, rollout_of
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.errors import Unavailable
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Live, Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import failed, passed
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.dagster_api import Run, Step
from tests.fakes.store import MemoryStore
from tests.fakes.world import FakeHub

SPEC = ModelSpec.model_validate({"name": "my-model", "source": {"hub": "owner/model"}})
WANTED = Release.of(SPEC, "a" * 40)
LIVE = Live(WANTED.id, WANTED.revision, "2026-01-01T00:00:00Z")
RECORD = Record(SPEC.name, WANTED.id, WANTED.revision, {})
NOW = 1000.0


def run(status="STARTED", **steps):
    """A run whose steps are given as asset=(status, started, ended)."""
    made = tuple(Step(f"my_model__{asset}", *about) for asset, about in steps.items())
    return Run("run-1", "rollout_my_model", status, 900.0, None, SPEC.name, WANTED.id, made)


def rollout(live=None, record=None, run=None, spec=SPEC):
    return rollout_of(spec, WANTED, live, record, run, NOW)


def asset(seen, name):
    return next(a for a in seen.assets if a.name == name)


def test_before_the_sensor_acts_it_waits():
    seen = rollout()

    assert seen.state is State.WAITING
    assert [a.name for a in seen.assets] == list(CHECKS)
    assert {a.state for a in seen.assets} == {"waiting"}


def test_a_run_under_way_is_rolling_out():
    assert rollout(record=RECORD, run=run()).state is State.ROLLING_OUT


def test_the_wanted_release_live_is_live():
    assert rollout(live=LIVE, record=RECORD).state is State.LIVE


def test_another_release_live_is_not_the_end():
    assert rollout(live=replace(LIVE, release="b" * 12 + "-000000")).state is State.WAITING


def test_a_live_release_whose_run_still_checks_is_not_the_end():
    assert rollout(live=LIVE, record=RECORD, run=run()).state is State.ROLLING_OUT


@pytest.mark.parametrize(("phase", "state"), [(Phase.REJECTED, State.REJECTED), (Phase.ROLLED_BACK, State.ROLLED_BACK)])
def test_a_release_that_ended_badly_says_how(phase, state):
    record = RECORD.in_phase(phase, "too slow")

    assert rollout(record=record, run=run("FAILURE")).state is state


def test_a_run_that_failed_without_a_verdict_waits_for_the_next_attempt():
    assert rollout(record=RECORD, run=run("FAILURE")).state is State.WAITING


def test_a_paused_model_is_not_waited_for():
    paused = SPEC.model_copy(update={"rollout": SPEC.rollout.model_copy(update={"paused": True})})

    assert rollout(spec=paused).state is State.PAUSED


def with_rollout(**settings):
    return ModelSpec.model_validate({"name": "my-model", "source": {"hub": "owner/model"}, "rollout": settings})


def test_a_release_that_waits_for_approval_is_not_waited_for_and_its_note_says_what_to_do():
    waiting = RECORD.in_phase(Phase.AWAITING_APPROVAL, "Approve it: `genai approve …`")

    seen = rollout(record=waiting, spec=with_rollout(approval="manual"))

    assert seen.state is State.AWAITING_APPROVAL
    assert seen.state in ENDS
    assert "genai approve" in seen.note
    approved = replace(waiting, approved="ann")
    assert rollout(record=approved, spec=with_rollout(approval="manual")).state is State.WAITING


def test_outside_its_window_a_model_is_not_waited_for_and_the_opening_is_said():
    seen = rollout(spec=with_rollout(window="Mon-Fri 09:00-17:00"))  # NOW is a night

    assert seen.state is State.OUTSIDE_WINDOW
    assert seen.state in ENDS
    assert "closed until 1970-01-01T09:00:00Z" in seen.note


def test_a_superseded_release_that_is_asked_for_again_is_waited_for():
    seen = rollout(record=RECORD.in_phase(Phase.SUPERSEDED, "r2 is asked for instead"))

    assert seen.state is State.SUPERSEDED
    assert seen.state not in ENDS


def test_a_running_step_shows_its_seconds_so_far():
    seen = rollout(run=run(candidate=("IN_PROGRESS", 990.0, None)))

    assert (asset(seen, "candidate").state, asset(seen, "candidate").seconds) == ("running", 10.0)


def test_a_promotion_shows_what_the_rollouts_run_proved_and_its_own_step():
    record = RECORD.with_verdicts("candidate", [passed("tool_call_parsed", "yes")], 3.0)
    promotion = replace(run(live=("IN_PROGRESS", 990.0, None)), job="promote_my_model")

    seen = rollout(record=record, run=promotion)

    assert seen.state is State.ROLLING_OUT
    assert (asset(seen, "candidate").state, asset(seen, "candidate").seconds) == ("passed", 3.0)
    assert (asset(seen, "live").state, asset(seen, "live").seconds) == ("running", 10.0)


def test_verdicts_of_an_earlier_attempt_do_not_show_while_the_new_one_has_not_got_there():
    record = RECORD.with_verdicts("candidate", [failed("tool_call_parsed", "no tool call")], 3.0)

    assert asset(rollout(record=record, run=run()), "candidate").state == "waiting"


def test_a_finished_asset_shows_its_worst_verdict_and_its_time():
    verdicts = [passed("expected_model_answers", "yes"), failed("tool_call_parsed", "no tool call")]
    record = RECORD.with_verdicts("candidate", verdicts, 3.0)

    found = asset(rollout(record=record, run=run(candidate=("FAILURE", 1.0, 4.0))), "candidate")

    assert (found.state, found.seconds) == ("failed", 3.0)
    assert [v.check for v in found.not_passed] == ["tool_call_parsed"]


def test_a_step_that_died_before_any_verdict_is_failed():
    assert asset(rollout(run=run("FAILURE", snapshot=("FAILURE", 1.0, 2.0))), "snapshot").state == "failed"


def test_a_step_that_never_ran_is_skipped():
    assert asset(rollout(run=run("FAILURE", live=("SKIPPED", None, None))), "live").state == "skipped"


class Api:
    """A Dagster that answers as it is told, or not at all."""

    def __init__(self, note="", broken=None, down=False):
        self.note, self.broken, self.down = note, broken, down

    def latest_run(self, model, release=None):
        if self.down:
            raise Unavailable("Dagster does not answer.", "Run `genai up`.")

    def location_error(self):
        return self.broken

    def sensor_note(self, sensor):
        return self.note


def watch(api, hub=None):
    hub = hub or FakeHub()
    hub.publish("v1")
    return ProgressReader(Gateways(hub, MemoryStore(), None, None, None, None), api)


@pytest.mark.parametrize(
    ("api", "note"),
    [
        (Api(note="other: is new\nmy-model: rollout.paused is true"), "rollout.paused is true"),
        (Api(note=""), "the next tick of the version sensor starts it or says why not"),
        (Api(broken="No module named x"), "Dagster cannot load the code location: No module named x"),
        (Api(down=True), "Dagster does not answer. Run `genai up`."),
    ],
)
def test_what_is_waited_for_is_said_in_its_own_words(api, note):
    seen = watch(api).look(SPEC)

    assert (seen.state, seen.note) == (State.WAITING, note)


def test_a_hub_that_is_down_is_what_is_waited_for():
    hub = FakeHub()
    hub.down = True

    assert "hub did not answer" in watch(Api(), hub).look(SPEC).note
