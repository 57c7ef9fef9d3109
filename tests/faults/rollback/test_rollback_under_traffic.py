import pytest

from genai_pipeline.core.record import Phase
from tests.faults.rollback.conftest import HOLD_S, LOOK_EVERY_S, RATE_PER_S

NOTICED_S = 3 * LOOK_EVERY_S + 2.0
"""Three looks, and what two busy cores take for them."""
HELD_S = HOLD_S + NOTICED_S + 3.0

FAULTS = {
    # fault -> (what the engine is told, words of the reason, stated time, whether requests fail by it)
    "500s": ({"broken": True}, "failed", NOTICED_S + 2, True),
    "half of all requests fail": ({"error_rate": 0.5}, "", HELD_S, True),
    "latency x5": ({"ttft_s": 0.25}, "TTFT p95", HELD_S, False),
    "slow tokens": ({"token_s": 0.12}, "inter-token latency p95", HELD_S, False),
    "wrong answers of the agent": ({"raw_tool_calls": True}, "the agent was asked weather", HELD_S, False),
    "KV cache full": ({"kv_cache": 0.99}, "the KV cache is 99% full", HELD_S, False),
}


def assert_back_on(stage, release, bad):
    live = stage.platform.records.live("tiny")
    assert (live.release, live.rolled_back) == (release.id, None)
    assert stage.platform.traffic.is_on(release.id, "tiny")
    record = stage.platform.records.require("tiny", bad.id)
    assert record.phase is Phase.ROLLED_BACK
    assert record.reason
    assert stage.platform.gateways.cluster.get("Deployment", bad.object_name) is None
    assert stage.platform.roll_back.unfinished("tiny") == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_release_that_turns_bad_is_back_on_the_last_good_one_in_time(stage, fault):
    told, words, within_s, fails = FAULTS[fault]
    bad = stage.promote()

    back = stage.back_after(bad, lambda: stage.break_engine(bad, **told), within_s + 10)

    assert_back_on(stage, stage.good, bad)
    assert words in back.reason
    assert back.seconds <= within_s
    assert back.failed_after == 0
    assert back.failed <= (back.seconds + 1) * RATE_PER_S + 10 if fails else back.failed == 0


def test_a_crash_loop_is_back_on_the_last_good_release(stage):
    bad = stage.promote()

    back = stage.back_after(bad, stage.crash_file.touch, 20)

    assert_back_on(stage, stage.good, bad)
    assert back.failed_after == 0
    assert back.seconds <= HELD_S


def test_a_release_that_degrades_only_after_a_while_is_back_on_the_last_good_one(stage):
    bad = stage.promote()
    stage.healthy_looks(80 if HOLD_S > 5 else 20)

    back = stage.back_after(bad, lambda: stage.break_engine(bad, broken=True), 20)

    assert_back_on(stage, stage.good, bad)
    assert back.failed_after == 0
    assert back.seconds <= NOTICED_S + 2


def test_a_release_that_was_rolled_back_is_not_tried_again(stage):
    bad = stage.promote()
    stage.back_after(bad, lambda: stage.break_engine(bad, broken=True), 20)
    stage.world.hub.revisions["1" * 40] = {}
    stage.world.hub.refs["main"] = "1" * 40
    from datetime import UTC, datetime

    tick = stage.platform.controller.tick([stage.spec], (), datetime.now(UTC))

    assert not tick.starts
    assert "was rolled back" in tick.notes[-1]
