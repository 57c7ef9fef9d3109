"""Which stored results a prune deletes, over records as they are written."""

from dataclasses import replace

import pytest

from genai_pipeline.core.record import Phase, live_key, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.evaluation.results import results_key
from genai_pipeline.evaluation.stale_results import KEPT, prune_results
from genai_pipeline.rollout.record.records import Records
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore

SPEC = model_with_tools("name: tiny\nsource: {hub: owner/tiny}\n", "tiny.yaml")
DAY_S = 86400.0


class Bucket:
    """Releases with results, each written a minute after the one before."""

    def __init__(self):
        self.now = 1_000 * DAY_S
        self.store = MemoryStore(clock=lambda: self.now)
        self.records = Records(self.store)

    def release(self, number, phase=None, suites=("weather",)):
        """Its results' keys; without a record where no phase is given."""
        release = Release.of(SPEC, f"{number:012x}".ljust(40, "0"))
        if phase:
            self.records.open(SPEC, release, "made")
            self.records.update("tiny", release.id, lambda record: replace(record, phase=phase))
        self.now += 60
        keys = [results_key("tiny", release.id, suite) for suite in suites]
        for key in keys:
            self.store.put(key, b"{}\n")
        return release, keys

    def prune(self, grace_s=0.0, dry_run=False):
        return {found.key: found.why for found in prune_results(self.store, ["tiny"], grace_s, dry_run, self.now)}

    def left(self):
        return {found.key for found in self.store.list("evaluations/")}


@pytest.fixture
def bucket():
    return Bucket()


def test_results_of_a_release_without_a_record_go_all_of_them(bucket):
    _, gone = bucket.release(1, suites=("weather", "tool_calling"))
    _, kept = bucket.release(2, Phase.ROLLING_OUT)

    assert bucket.prune() == dict.fromkeys(gone, "its release has no record")
    assert bucket.left() == set(kept)
    assert bucket.prune() == {}


def test_of_ended_releases_the_newest_keep_theirs(bucket):
    ended = [bucket.release(number, Phase.REPLACED)[1][0] for number in range(KEPT + 2)]

    assert bucket.prune() == dict.fromkeys(ended[:2], "its release was replaced, and newer ones have ended since")
    assert bucket.left() == set(ended[2:])


@pytest.mark.parametrize("phase", [Phase.ROLLING_OUT, Phase.AWAITING_APPROVAL, Phase.LIVE])
def test_what_has_not_ended_keeps_its_results_however_old(bucket, phase):
    _, old = bucket.release(0, phase)
    for number in range(1, KEPT + 2):
        bucket.release(number, Phase.REJECTED)

    bucket.prune()

    assert bucket.left() >= set(old)


def test_live_and_last_good_keep_their_results_whatever_their_records_say(bucket):
    (last_good, first), (live, second) = bucket.release(0, Phase.REPLACED), bucket.release(1, Phase.REPLACED)
    bucket.records.set_live(last_good)
    bucket.records.set_live(live)
    for number in range(2, KEPT + 3):
        bucket.release(number, Phase.REPLACED)
    bucket.store.delete(record_key("tiny", live.id))

    bucket.prune()

    assert bucket.left() >= {*first, *second}


def test_the_grace_time_and_a_dry_run_delete_nothing(bucket):
    _, keys = bucket.release(1)

    assert bucket.prune(grace_s=DAY_S) == {}
    bucket.now += DAY_S
    assert set(bucket.prune(grace_s=DAY_S, dry_run=True)) == set(keys)
    assert bucket.left() == set(keys)
    assert set(bucket.prune(grace_s=DAY_S)) == set(keys)
    assert bucket.left() == set()


def test_what_cannot_be_read_keeps_what_hangs_on_it(bucket):
    release, one = bucket.release(1, Phase.REPLACED)
    _, gone = bucket.release(2)
    bucket.store.put(record_key("tiny", release.id), b"{torn")
    assert set(bucket.prune()) == set(gone)

    bucket.release(3)
    bucket.store.put(live_key("tiny"), b"{torn")
    assert bucket.prune() == {}
    assert bucket.left() >= set(one)


def test_another_model_is_left_alone(bucket):
    other = results_key("tiny-2", "0" * 12 + "-abcdef", "weather")
    bucket.store.put(other, b"{}\n")

    assert bucket.prune() == {}
    assert bucket.left() == {other}
