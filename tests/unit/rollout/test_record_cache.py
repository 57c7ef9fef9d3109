import pytest

from genai_pipeline.core.errors import StoreUnavailable, Unavailable
from genai_pipeline.core.record import Phase, live_key, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.rollout.record.record_cache import RecordCache
from genai_pipeline.rollout.record.records import Records
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore


class Counted(MemoryStore):
    """Counts what is asked of it."""

    def __init__(self):
        super().__init__(fail=lambda method, key: self.asked.append(method))
        self.asked = []


def spec(name):
    return model_with_tools(f"name: {name}\nsource: {{hub: a/b}}\n", name)


@pytest.fixture
def store():
    return Counted()


@pytest.fixture
def records(store):
    records = Records(store)
    for model in ("a", "b"):
        for n in range(5):
            records.open(spec(model), Release.of(spec(model), str(n) * 40), "found")
        records.set_live(Release.of(spec(model), "0" * 40))
    return records


def asked(store, ledger, *models):
    store.asked.clear()
    books = ledger.read(models)
    return books, store.asked.count("get"), store.asked.count("list")


def test_unchanged_records_cost_one_listing_for_all_models(store, records):
    ledger = RecordCache(store)
    ledger.read(["a", "b"])

    books, gets, lists = asked(store, ledger, "a", "b")

    assert (gets, lists) == (0, 1)
    assert {model: len(book.records) for model, book in books.items()} == {"a": 5, "b": 5}
    assert books["a"].live.release == Release.of(spec("a"), "0" * 40).id


def test_what_someone_else_wrote_is_read_at_once(store, records):
    ledger, release = RecordCache(store), Release.of(spec("a"), "1" * 40)
    ledger.read(["a", "b"])
    records.update("a", release.id, lambda r: r.in_phase(Phase.REJECTED, "bad"))
    store.delete(record_key("a", Release.of(spec("a"), "2" * 40).id))

    books, gets, _ = asked(store, ledger, "a", "b")

    assert gets == 1
    assert books["a"].records[release.id].phase is Phase.REJECTED
    assert len(books["a"].records) == 4


def test_of_what_is_through_only_a_glance_is_remembered(store, records):
    release = Release.of(spec("a"), "1" * 40)
    records.update("a", release.id, lambda r: r.in_phase(Phase.REPLACED), "replaced")

    book = RecordCache(store).read(["a"])["a"]

    assert book.records[release.id].spec == {}
    assert [e.what for e in book.records[release.id].history] == ["replaced"]
    assert book.records[Release.of(spec("a"), "2" * 40).id].as_release.revision == "2" * 40


def test_what_is_not_read_in_time_is_said_and_read_at_the_next_tick(store, records):
    ledger = RecordCache(store, budget_s=-1)

    found = ledger.read(["a"])["a"]

    assert isinstance(found, Unavailable)
    assert "0 of 6 records of a are read" in str(found)
    ledger._budget_s = 60
    assert len(ledger.read(["a"])["a"].records) == 5


def test_a_damaged_record_is_named_and_the_others_are_read(store, records):
    release = Release.of(spec("a"), "1" * 40)
    store.put(record_key("a", release.id), b"{}")

    book = RecordCache(store).read(["a"])["a"]

    assert "cannot be read" in book.damaged[release.id]
    assert len(book.records) == 4


def test_a_damaged_pointer_holds_its_own_model_back_and_no_other(store, records):
    store.put(live_key("a"), b"not json")

    books = RecordCache(store).read(["a", "b"])

    assert isinstance(books["a"], Unavailable)
    assert len(books["b"].records) == 5


def test_a_store_that_does_not_answer_is_said(store, records):
    store.go_down()

    with pytest.raises(StoreUnavailable):
        RecordCache(store).read(["a"])


def test_conversations_of_agents_are_no_part_of_the_listing(store, records):
    for n in range(50):
        store.put(f"sessions/a/{n:032x}/session.json", b"{}")
    seen = []
    listing = store.list
    store.list = lambda prefix: seen.append(prefix) or listing(prefix)

    RecordCache(store).read(("a", "b"))

    assert seen == ["releases/"]
