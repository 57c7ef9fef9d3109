from dataclasses import replace

from genai_pipeline.core.checks import REQUIRED_FOR_LIVE
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Event, Live, Phase, Record
from genai_pipeline.core.verdict import failed, inconclusive, passed
from genai_pipeline.rollout.record.history import history, history_table

SPEC = ModelSpec.model_validate({"name": "tiny", "source": {"hub": "a/b"}}).model_dump(mode="json", by_alias=True)


def record(release, at, **more):
    events = (Event(f"2026-01-{at:02}T00:00:00Z", "found at a/b@main"),)
    return Record("tiny", release, "0" * 40, SPEC, history=events, **more)


def test_the_newest_comes_first_with_what_started_it_what_it_proved_and_how_it_ended():
    old = record("r1", 1, phase=Phase.REPLACED, reason="replaced by r2", trigger="new revision 0123 of a/b@main")
    new = record(
        "r2", 2, phase=Phase.REJECTED, reason="ttft_p95: too slow", trigger="serving.image: a -> b",
        verdicts={"snapshot.x": passed("x", ""), "live.y": failed("y", ""), "live.z": inconclusive("z", "")},
        timings={"live": 2.0, "snapshot": 1.0},
    )  # fmt: skip
    new = replace(new, history=(*new.history, Event("2026-01-03T00:00:00Z", "rejected: ttft_p95: too slow")))

    first, second = history([old, new])

    assert (first["release"], second["release"]) == ("r2", "r1")
    assert first["state"] == "rejected"
    assert first["why"] == "ttft_p95: too slow"
    assert first["trigger"] == "serving.image: a -> b"
    assert first["verdicts"] == {"passed": 1, "failed": 1, "inconclusive": 1}
    assert list(first["timings"]) == ["snapshot", "live"]
    assert first["began"] == "2026-01-02T00:00:00Z"
    assert first["ended"] == "2026-01-03T00:00:00Z"


def test_what_is_looked_after_since_does_not_move_its_end():
    live = record("r1", 1, phase=Phase.LIVE)
    events = (Event("2026-01-02T00:00:00Z", "went live"), Event("2026-02-01T00:00:00Z", "redeployed: drift"))
    (row,) = history([replace(live, history=(*live.history, *events))])
    assert row["ended"] == "2026-01-02T00:00:00Z"


def test_the_live_one_says_until_when_it_is_watched_and_the_last_good_one_that_it_is():
    rows = history(
        [record("r1", 1, phase=Phase.REPLACED), record("r2", 2, phase=Phase.LIVE)],
        Live("r2", "0" * 40, "2026", last_good="r1", watched_until="2026-01-02T00:30:00Z"),
    )
    assert [row["state"] for row in rows] == ["live, watched until 2026-01-02 00:30:00Z", "replaced, last good"]


def test_a_release_without_anything_is_shown_all_the_same():
    (row,) = history_table([Record("tiny", "r1", "0" * 40, SPEC)])
    assert row["state"] == "rolling out"
    assert set(map(type, row.values())) == {str}


def test_a_proven_release_without_traffic_says_so():
    proven = record("r1", 1, verdicts={name: passed(name, "") for name in REQUIRED_FOR_LIVE})
    assert history([proven])[0]["state"] == "rolling out, proven"


def test_asked_for_again_it_began_when_its_newest_rollout_did():
    again = record("r1", 1, attempt=3, attempts_before=1)
    events = [Event(f"2026-01-0{n}T00:00:00Z", "run requested: x") for n in (1, 5, 6)]
    (row,) = history([replace(again, history=(*again.history, *events))])
    assert row["began"] == "2026-01-05T00:00:00Z"
