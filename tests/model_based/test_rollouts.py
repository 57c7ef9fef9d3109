import sys

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model_based.faulty import TROUBLE
from tests.model_based.machine import Rollouts

THOROUGH = settings(max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("genai_pipeline.rollout.traffic.SETTLE_DEADLINE_S", 0.3)
    monkeypatch.setattr("genai_pipeline.rollout.drain.POLL_S", 0)
    monkeypatch.setattr("genai_pipeline.loadtest.probe.ContinuousProbe", _watch_traffic)
    monkeypatch.setattr("time.sleep", lambda _: None)
    for name, module in list(sys.modules.items()):
        if name.startswith("genai_pipeline.") and hasattr(module, "crash_point"):
            monkeypatch.setattr(module, "crash_point", TROUBLE.crash_point)


def _watch_traffic(url, model):
    from tests.fakes.world import World

    return World().watch_traffic(url, model)


def test_whatever_happens_in_whatever_order_users_are_served_and_all_comes_to_rest():
    run_state_machine_as_test(Rollouts, settings=THOROUGH)
