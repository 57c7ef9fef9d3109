import pytest

from genai_pipeline.core.errors import NotFound, StoreConflict
from genai_pipeline.core.record import Phase, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import passed
from genai_pipeline.rollout.record.records import Records
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore

SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "tiny.yaml")
RELEASE = Release.of(SPEC, "a" * 40)
NEXT = Release.of(SPEC, "b" * 40)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def records(store):
    return Records(store, now=lambda: "2026-01-01T00:00:00Z")


def test_opening_twice_keeps_the_first_record(records):
    records.open(SPEC, RELEASE, "first")
    records.update("tiny", RELEASE.id, lambda r: r.in_phase(Phase.LIVE))

    assert records.open(SPEC, RELEASE, "second").phase is Phase.LIVE
    assert [e.what for e in records.require("tiny", RELEASE.id).history] == ["first"]


def test_two_writers_at_once_lose_nothing(records, store):
    records.open(SPEC, RELEASE, "opened")
    other = Records(store, now=lambda: "2026-01-01T00:00:00Z")
    interrupted = []

    def change(record):
        if not interrupted:
            interrupted.append(True)
            other.update("tiny", RELEASE.id, lambda r: r.with_verdicts("capacity", [passed("surge_fits", "yes")], 1))
        return record.with_verdicts("snapshot", [passed("revision_pinned", "yes")], 1)

    records.update("tiny", RELEASE.id, change)

    assert set(records.require("tiny", RELEASE.id).verdicts) == {"capacity.surge_fits", "snapshot.revision_pinned"}


def test_a_record_that_never_holds_still_ends_in_an_error(records, store):
    records.open(SPEC, RELEASE, "opened")
    key = record_key("tiny", RELEASE.id)

    def race(record):
        store.put(key, record.with_event("2026-01-02T00:00:00Z", "y").to_bytes())
        return record.in_phase(Phase.LIVE)

    with pytest.raises(StoreConflict, match="changed during each"):
        records.update("tiny", RELEASE.id, race)


def test_an_unknown_release_is_named_in_the_error(records):
    with pytest.raises(NotFound, match=f"tiny@{RELEASE.id} has no record"):
        records.require("tiny", RELEASE.id)


def test_going_live_remembers_the_last_good_release_even_when_repeated(records):
    records.set_live(RELEASE)
    records.set_live(NEXT)
    records.set_live(NEXT)

    live = records.live("tiny")

    assert (live.release, live.last_good) == (NEXT.id, RELEASE.id)


def test_the_pointer_is_not_listed_among_the_records(records):
    records.open(SPEC, RELEASE, "opened")
    records.set_live(RELEASE)

    assert [r.release for r in records.all("tiny")] == [RELEASE.id]
