from dataclasses import replace

import pytest

from genai_pipeline.core.errors import ReleaseRefused
from genai_pipeline.core.record import Phase, Record
from genai_pipeline.rollout.capacity.downtime import WITHOUT_LIVE, expected_downtime, refuse_unless_allowed
from genai_pipeline.rollout.capacity.standing import Standing
from tests.fakes.model_texts import model_with_tools

SPEC = model_with_tools(
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


def test_a_live_release_is_not_stopped_for_an_older_plan_than_the_model_file():
    with pytest.raises(ReleaseRefused, match=r"rollout\.allow_downtime is false"):
        refuse_unless_allowed(SPEC, Standing(live="old"))


@pytest.mark.parametrize("standing", [Standing(), Standing(live="old", made_room=True)])
def test_where_no_one_is_served_nothing_is_interrupted(standing):
    refuse_unless_allowed(SPEC, standing)


def test_allowed_is_allowed():
    allowed = SPEC.model_copy(update={"rollout": SPEC.rollout.model_copy(update={"allow_downtime": True})})

    refuse_unless_allowed(allowed, Standing(live="old"))
