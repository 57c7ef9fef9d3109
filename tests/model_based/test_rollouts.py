import sys
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from genai_pipeline.core.record import Record
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.rollout.control.controller import Controller, RequestedRun
from genai_pipeline.rollout.switch.ending import Ending
from tests.model_based.faulty import TROUBLE
from tests.model_based.machine import Rollouts
from tests.model_based.site import Site

THOROUGH = settings(
    stateful_step_count=50,
    deadline=None,
    derandomize=True,  # what a change did must not depend on the day
    suppress_health_check=list(HealthCheck),
)
STANDING_STILL = SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda seconds: None)
"""A clock for budgets and deadlines, so that a busy machine does not decide what happens."""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("genai_pipeline.rollout.switch.traffic.SETTLE_DEADLINE_S", 0.3)
    for module in ("control.controller", "record.record_cache", "switch.settling"):
        monkeypatch.setattr(f"genai_pipeline.rollout.{module}.time", STANDING_STILL)
    monkeypatch.setattr("genai_pipeline.loadtest.probe.ContinuousProbe", _watch_traffic)
    monkeypatch.setattr("genai_pipeline.assets.live.utc_now", None)  # each site has its own clock
    monkeypatch.setattr("time.sleep", lambda _: None)
    for name, module in list(sys.modules.items()):
        if name.startswith("genai_pipeline.") and hasattr(module, "crash_point"):
            monkeypatch.setattr(module, "crash_point", TROUBLE.crash_point)


def _watch_traffic(url, model, task):
    from tests.fakes.world import World

    return World().watch_traffic(url, model, task)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("examples", [12, pytest.param(100, marks=pytest.mark.nightly)])
def test_whatever_happens_in_whatever_order_users_are_served_and_all_comes_to_rest(examples):
    run_state_machine_as_test(Rollouts, settings=settings(THOROUGH, max_examples=examples))


@pytest.mark.nightly
@pytest.mark.timeout(3 * 3600)
def test_a_thousand_sequences_that_were_not_tried_yet_end_as_well():
    run_state_machine_as_test(Rollouts, settings=settings(THOROUGH, max_examples=1000, derandomize=False))


def finds(message, examples=60):
    """What the machine says of a broken product; it need not be the shortest way there."""
    few = settings(
        THOROUGH,
        max_examples=examples,
        derandomize=True,
        phases=[Phase.generate],
        database=None,
        report_multiple_bugs=False,
    )
    with pytest.raises(Exception, match=message) as found:
        run_state_machine_as_test(Rollouts, settings=few)
    return found


def test_it_finds_an_interlock_that_lets_the_unproven_through(monkeypatch):
    publish = Site.publish

    def unmeasured(site: Site, model: str, content: str, outcome: Outcome) -> None:
        publish(site, model, content, outcome if content == "v0" else Outcome.INCONCLUSIVE)

    monkeypatch.setattr(Site, "publish", unmeasured)
    monkeypatch.setattr(Record, "may_go_live", property(lambda record: True))

    finds("not all passed")


@pytest.mark.long
def test_it_finds_a_tick_that_hands_a_run_out_before_it_is_written_down(monkeypatch):
    def without_writing(controller, of, plan):
        attempt = (of.record.attempt if of.record else 0) + 1
        return RequestedRun("rollout", of.spec, of.desired.id, attempt, f"{of.spec.name}:{of.desired.id}:{attempt}", "")

    monkeypatch.setattr(Controller, "_start", without_writing)

    finds("requested twice")


@pytest.mark.long
def test_it_finds_a_pruner_that_forgets_the_live_release(monkeypatch):
    monkeypatch.setattr("genai_pipeline.staging.references._live", lambda *_: iter(()))
    monkeypatch.setattr("genai_pipeline.staging.references._record", lambda *_: iter(()))

    finds("is not staged")


@pytest.mark.long
def test_it_finds_a_controller_that_promotes_without_approval(monkeypatch):
    monkeypatch.setattr("genai_pipeline.rollout.control.rollout_plan.needs_approval", lambda *_: False)

    finds("nobody approved it")


@pytest.mark.long
def test_it_finds_candidates_that_no_one_takes_away(monkeypatch):
    monkeypatch.setattr(Ending, "_take_away", lambda *_: None)

    finds("were left in the cluster")
