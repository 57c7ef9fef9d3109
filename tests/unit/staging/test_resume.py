"""What a rerun makes of the uploads that somebody left, and what two stagers make of one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from genai_pipeline.core.errors import ChecksumMismatch, HubUnavailable, StoreConflict, StoreUnavailable
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.gateways.store.abc import Upload, UploadedPart
from genai_pipeline.staging.stager import Stager
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors_of
from tests.fakes.world import FakeHub

PART = 1000
BODY = safetensors_of(6 * PART + 17, bytes(range(251)))
PARTS = [BODY[at : at + PART] for at in range(0, len(BODY), PART)]
PATH = "model.safetensors"


class Counting(MemoryStore):
    """Knows which parts it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[int] = []

    def upload_part(self, upload: Upload, number: int, body: bytes | bytearray | memoryview) -> UploadedPart:
        sent = super().upload_part(upload, number, body)
        self.parts.append(number)
        return sent


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
def store() -> Counting:
    return Counting()


def published(hub: FakeHub) -> Snapshot:
    return hub.snapshot("owner/tiny", hub.publish("v1", files={PATH: BODY}))


def key(snapshot: Snapshot) -> str:
    return staged_prefix("tiny", snapshot.revision) + PATH


def left(store: Counting, snapshot: Snapshot, parts: dict[int, bytes]) -> Upload:
    upload = store.begin_upload(key(snapshot))
    for number, body in parts.items():
        store.upload_part(upload, number, body)
    store.parts.clear()
    return upload


def staged(hub: FakeHub, store: Counting, snapshot: Snapshot) -> bytes:
    Stager(hub, store, PART).stage("tiny", snapshot)
    return store.get(key(snapshot))[0]


def test_no_finished_part_is_sent_again(hub: FakeHub, store: Counting):
    snapshot = published(hub)
    left(store, snapshot, {1: PARTS[0], 2: PARTS[1], 5: PARTS[4]})

    assert staged(hub, store, snapshot) == BODY

    assert sorted(store.parts) == [3, 4, 6, 7]
    assert list(store.list_uploads("")) == []


def test_a_part_that_was_stored_wrongly_does_not_survive(hub: FakeHub, store: Counting):
    snapshot = published(hub)
    left(store, snapshot, {1: PARTS[0], 2: PARTS[0], 3: PARTS[2][:-1], 7: PARTS[6]})

    assert staged(hub, store, snapshot) == BODY

    assert sorted(store.parts) == [2, 3, 4, 5, 6]


def test_parts_of_another_layout_are_sent_again(hub: FakeHub, store: Counting):
    snapshot = published(hub)
    left(store, snapshot, {1: BODY[: 2 * PART], 2: BODY[2 * PART : 4 * PART], 3: BODY[4 * PART :]})

    assert staged(hub, store, snapshot) == BODY

    assert sorted(store.parts) == [1, 2, 3, 4, 5, 6, 7]


def test_of_several_uploads_the_fullest_is_continued(hub: FakeHub, store: Counting):
    snapshot = published(hub)
    left(store, snapshot, {1: PARTS[0]})
    left(store, snapshot, {1: PARTS[0], 2: PARTS[1], 3: PARTS[2]})
    left(store, snapshot, {})

    assert staged(hub, store, snapshot) == BODY

    assert sorted(store.parts) == [4, 5, 6, 7]


def test_what_a_failed_run_sent_the_next_one_does_not(hub: FakeHub, store: Counting):
    class Failing(FakeHub):
        def read(
            self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
        ) -> Iterator[bytes]:
            if start == 5 * PART:
                raise HubUnavailable("The hub is down.", "Wait.")
            yield from super().read(repository, revision, path, start, end)

    failing = Failing()
    snapshot = published(failing)
    with pytest.raises(HubUnavailable, match="is down"):
        Stager(failing, store, PART).stage("tiny", snapshot)
    first = set(store.parts)
    store.parts.clear()

    published(hub)
    assert staged(hub, store, snapshot) == BODY

    assert first.isdisjoint(store.parts)
    assert first | set(store.parts) == set(range(1, 8))


def test_wrong_bytes_throw_the_upload_away_for_good(store: Counting):
    class Corrupting(FakeHub):
        def read(
            self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
        ) -> Iterator[bytes]:
            body = b"".join(super().read(repository, revision, path, start, end))
            yield body if start else body[:-1] + b"?"

    hub = Corrupting()
    with pytest.raises(ChecksumMismatch, match=PATH):
        Stager(hub, store, PART).stage("tiny", published(hub))

    assert list(store.list_uploads("")) == []
    assert [method for method, _ in store.calls].count("abort_upload") == 2


def test_an_upload_that_another_stager_completed_is_taken_for_done(hub: FakeHub, store: Counting):
    snapshot = published(hub)
    left(store, snapshot, dict(enumerate(PARTS, 1)))
    completing = threading.Event()

    def others_are_faster(method: str, at: str) -> None:
        if method == "complete_upload" and not completing.is_set():
            completing.set()
            upload = next(iter(store.list_uploads("")))
            store.complete_upload(upload, list(store.list_parts(upload)))

    store.fail = others_are_faster

    assert staged(hub, store, snapshot) == BODY
    assert store.parts == []


def test_an_upload_that_another_stager_threw_away_is_begun_again(hub: FakeHub, store: Counting):
    snapshot = published(hub)
    upload = left(store, snapshot, {1: PARTS[0]})

    def thrown_away(method: str, at: str) -> None:
        if method == "upload_part" and upload.upload_id in store.uploads:
            store.abort_upload(upload)

    store.fail = thrown_away

    assert staged(hub, store, snapshot) == BODY
    assert list(store.list_uploads("")) == []


def test_other_parts_in_a_shared_upload_are_never_completed(hub: FakeHub, store: Counting):
    snapshot = published(hub)
    upload = left(store, snapshot, {})
    meddled = threading.Event()

    def meddle(method: str, at: str) -> None:
        if method == "complete_upload" and not meddled.is_set():
            meddled.set()
            store.upload_part(upload, 3, b"x" * PART)

    store.fail = meddle

    assert staged(hub, store, snapshot) == BODY


def test_a_store_that_keeps_refusing_ends_the_staging(hub: FakeHub, store: Counting):
    snapshot = published(hub)

    def refuse(method: str, at: str) -> None:
        if method == "complete_upload":
            raise StoreConflict(f"{store.url(key(snapshot))} was changed by else.", "Read it again.")

    store.fail = refuse
    with pytest.raises(StoreConflict):
        Stager(hub, store, PART).stage("tiny", snapshot)
    assert store.head(manifest_key("tiny", snapshot.revision)) is None


def test_a_store_that_goes_away_keeps_the_upload_for_the_next_run(hub: FakeHub, store: Counting):
    snapshot = published(hub)

    def down(method: str, at: str) -> None:
        if method == "upload_part" and len(store.parts) >= 3:
            raise StoreUnavailable("The store is down.", "Start it.")

    store.fail = down
    with pytest.raises(StoreUnavailable):
        Stager(hub, store, PART).stage("tiny", snapshot)
    first = set(store.parts)
    store.fail = None
    store.parts.clear()

    assert staged(hub, store, snapshot) == BODY

    assert len(first) >= 3
    assert first.isdisjoint(store.parts)
