import httpx
import pytest

from genai_pipeline.core.record import Phase

pytestmark = pytest.mark.long


def evaluations(result):
    return {e.check_name: e for e in result.get_asset_check_evaluations() if e.asset_key.path[0] == "tiny"}


def why(result):
    return " ".join(e.description or "" for e in evaluations(result).values() if not e.passed)


def answers(desk):
    """What a user gets at the stable address."""
    url = desk.engines.traffic().url("tiny")
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}]}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=10).status_code


def test_a_good_release_goes_live_on_real_processes_and_the_next_one_replaces_it(desk, live):
    before = live()
    desk.serve(**{"max-model-len": 64})

    result = desk.roll_out()

    assert result.success, why(result)
    assert desk.live != before
    assert answers(desk) == 200
    assert not [p for p in desk.cluster.list("Pod") if before in p["metadata"]["name"]]


@pytest.mark.parametrize(
    ("fault", "words", "phase"),
    [
        ("exit_at_start", "exit", Phase.ROLLING_OUT),
        ("broken", "500", Phase.ROLLING_OUT),
        ("serves=other-model", "other-model", Phase.REJECTED),
        ("root=s3://elsewhere/", "s3://elsewhere/", Phase.REJECTED),
        ("raw_tool_calls", "tool-call-parser", Phase.REJECTED),
        ("error_rate=0.5", "500", Phase.ROLLING_OUT),
        ("metrics=frozen", "did not move", Phase.REJECTED),
    ],
)
def test_a_broken_engine_never_gets_traffic_and_the_reason_is_named(desk, live, fault, words, phase):
    before = live()
    desk.serve(fault=fault)

    result = desk.roll_out()

    assert not result.success
    assert words in why(result)
    assert desk.live == before
    assert answers(desk) == 200
    release = desk.releases[-1]
    assert desk.record(release).phase is phase
    if phase is Phase.REJECTED:
        assert not [d for d in desk.cluster.list("Deployment") if release in d["metadata"]["name"]]


def test_after_a_broken_engine_the_next_good_config_goes_live(desk, live):
    before = live()
    desk.serve(fault="exit_at_start", **{"max-num-seqs": 1})
    desk.roll_out()
    desk.serve(**{"max-model-len": 128})

    result = desk.roll_out()

    assert result.success, why(result)
    assert desk.live != before
