from dataclasses import replace

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.record import Phase, Record
from genai_pipeline.rollout.downtime import WITHOUT_LIVE, expected_downtime

SPEC = parse_model(
    "name: tiny\nsource: {hub: a/b}\nserving: {startup_deadline_s: 570}\nrollout: {drain_deadline_s: 30}\n", "f"
)


def record(release, seconds, phase=Phase.REPLACED, assets=WITHOUT_LIVE):
    empty = Record("tiny", release, "a" * 40, {})
    return replace(empty, phase=phase, timings={**dict.fromkeys(assets, seconds), "staged_model": 9000.0})


def test_the_slowest_of_the_newest_releases_is_the_estimate():
    found = expected_downtime(SPEC, [record("r1", 60.0), record("r2", 24.0), record("r3", 36.0)])

    assert found.minutes == 5.0
    assert "release r1" in found.source


def test_old_releases_no_longer_count():
    found = expected_downtime(SPEC, [record("ancient", 6000.0), *(record(f"r{n}", 12.0) for n in range(5))])

    assert found.minutes == 1.0


def test_without_a_timed_release_the_model_files_deadlines_are_the_estimate_and_said_to_be():
    failed = record("bad", 1.0, Phase.REJECTED)
    unfinished = record("half", 1.0, Phase.ROLLING_OUT, WITHOUT_LIVE[:2])

    found = expected_downtime(SPEC, [failed, unfinished])

    assert found.minutes == 10.0
    assert "no earlier release was timed" in found.source
