from datetime import UTC, datetime

import pytest

from genai_pipeline.core.record import Phase
from tests.faults.rollback.conftest import LOOK_EVERY_S, RATE_PER_S

NOTICED_S = 3 * LOOK_EVERY_S + 5.0
"""Three looks, and what two busy cores take for them."""
HELD_S = NOTICED_S + 4.0
"""Beside the time that a breach has to hold."""

pytestmark = pytest.mark.long

FAULTS = {
    # fault -> (what the engine is told, words of the reason, stated time, whether requests fail by it)
    "latency x5": ({"ttft_s": 0.25}, "TTFT p95", HELD_S, False),
    "wrong answers of the agent": ({"raw_tool_calls": True}, "the agent was asked weather", HELD_S, False),
    "KV cache full": ({"kv_cache": 0.99}, "the KV cache is 99% full", HELD_S, False),
}
MORE_FAULTS = {
    "half of all requests fail": ({"error_rate": 0.5}, "failed", HELD_S, True),
    "slow tokens": ({"token_s": 0.12}, "inter-token latency p95", HELD_S + 5, False),
}


def assert_back_on(stage, release, bad):
    live = stage.engines.records().live("tiny")
    assert (live.release, live.rolled_back) == (release.id, None)
    assert stage.engines.traffic().is_on(release)
    record = stage.engines.records().require("tiny", bad.id)
    assert record.phase is Phase.ROLLED_BACK
    assert record.reason
    assert stage.engines.gateways.cluster.get("Deployment", bad.object_name) is None
    assert stage.engines.roll_back().unfinished("tiny") == ""


@pytest.mark.parametrize("fault", [*FAULTS, *(pytest.param(f, marks=pytest.mark.nightly) for f in MORE_FAULTS)])
def test_a_release_that_turns_bad_is_back_on_the_last_good_one_in_time(stage, fault):
    told, words, beside_s, fails = (FAULTS | MORE_FAULTS)[fault]
    within_s = stage.hold_s + beside_s
    bad = stage.promote()

    back = stage.back_after(bad, lambda: stage.break_engine(bad, **told), within_s + 10)

    assert_back_on(stage, stage.good, bad)
    assert words in back.reason
    assert back.seconds <= within_s
    assert back.failed_after == 0
    assert back.failed <= (back.seconds + 1) * RATE_PER_S + 10 if fails else back.failed == 0


def test_500s_are_back_on_the_last_good_release_and_the_bad_one_is_not_tried_again(stage):
    bad = stage.promote()

    back = stage.back_after(bad, lambda: stage.break_engine(bad, broken=True), 20)

    assert_back_on(stage, stage.good, bad)
    assert back.seconds <= NOTICED_S
    assert back.failed_after == 0
    assert back.failed <= (back.seconds + 1) * RATE_PER_S + 10
    stage.world.hub.refs["main"], stage.world.hub.revisions["1" * 40] = "1" * 40, {}
    tick = stage.engines.controller().tick([stage.spec], (), datetime.now(UTC))
    assert not tick.starts
    assert "was rolled back" in tick.notes[-1]


def test_a_crash_loop_is_back_on_the_last_good_release(stage):
    bad = stage.promote()

    back = stage.back_after(bad, lambda: stage.break_engine(bad, crash_loop=True), 20)

    assert_back_on(stage, stage.good, bad)
    assert back.failed_after == 0
    assert back.seconds <= NOTICED_S


def test_a_release_that_degrades_only_after_a_while_is_back_on_the_last_good_one(stage):
    bad = stage.promote()
    stage.healthy_looks(int(10 + 7 * stage.hold_s))

    back = stage.back_after(bad, lambda: stage.break_engine(bad, broken=True), 20)

    assert_back_on(stage, stage.good, bad)
    assert back.failed_after == 0
    assert back.seconds <= NOTICED_S
