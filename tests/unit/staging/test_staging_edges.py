"""What a bucket or a file that is not as usual does to a staging."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from genai_pipeline.core.errors import StagingError
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.staging import multipart, transfer
from genai_pipeline.staging.stager import Stager
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors_of
from tests.fakes.world import FakeHub

PART = 1000
BODY = safetensors_of(5 * PART)


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def published(hub: FakeHub, content: str = "v1") -> Snapshot:
    return hub.snapshot("owner/tiny", hub.publish(content, files={"model.safetensors": BODY}))


def digests(store: MemoryStore, hub: FakeHub, snapshot: Snapshot) -> Outcome:
    verdicts = Stager(hub, store, PART).verify("tiny", snapshot)
    return {v.check: v.outcome for v in verdicts}["digests_equal_hub"]


@pytest.mark.parametrize("body", [b"not json", b"{}", b"[]", b'{"files": [{"path": "a"}]}'])
def test_a_broken_manifest_is_named_and_says_what_to_delete(hub: FakeHub, store: MemoryStore, body: bytes):
    snapshot = published(hub)
    store.put(manifest_key("tiny", snapshot.revision), body)
    with pytest.raises(StagingError, match="is not a manifest"):
        Stager(hub, store, PART).stage("tiny", snapshot)


def test_another_models_broken_manifest_does_not_stop_this_one(hub: FakeHub, store: MemoryStore):
    store.put("models/other/abc/manifest.json", b"not json")
    manifest = Stager(hub, store, PART).stage("tiny", published(hub))
    assert [f.path for f in manifest.files] == ["model.safetensors"]


def test_the_same_bytes_written_again_under_another_etag_are_still_the_hubs(hub: FakeHub, store: MemoryStore):
    snapshot = published(hub)
    Stager(hub, store, PART).stage("tiny", snapshot)
    key = staged_prefix("tiny", snapshot.revision) + "model.safetensors"
    before = store.etags[key]
    store.put(key, BODY)  # in one piece: another ETag
    assert store.etags[key] != before
    assert digests(store, hub, snapshot) is Outcome.PASSED


def test_other_bytes_of_the_same_size_are_not_the_hubs(hub: FakeHub, store: MemoryStore):
    snapshot = published(hub)
    Stager(hub, store, PART).stage("tiny", snapshot)
    store.put(staged_prefix("tiny", snapshot.revision) + "model.safetensors", BODY[:-1] + b"x")
    assert digests(store, hub, snapshot) is Outcome.FAILED


def test_a_file_of_more_parts_than_s3_takes_goes_in_larger_ones(
    hub: FakeHub, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(multipart, "MOST_PARTS", 3)
    snapshot = published(hub)
    manifest = Stager(hub, store, PART).stage("tiny", snapshot)
    assert manifest.files[0].etag.endswith("-3")
    assert store.get(staged_prefix("tiny", snapshot.revision) + "model.safetensors")[0] == BODY


class CountingHub(FakeHub):
    """Says how many parts were asked for; headers are looked for in all of these files."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.more = threading.Condition()

    def read(
        self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        with self.more:
            self.asked += end is not None and end - start <= PART
            self.more.notify_all()
        yield from super().read(repository, revision, path, start, end)


def test_a_store_that_stalls_stops_the_reading_at_the_window():
    hub, stalled = CountingHub(), threading.Event()
    files = {f"model-{n}.safetensors": safetensors_of(PART * 9, bytes([n])) for n in range(9)}
    snapshot = hub.snapshot("owner/tiny", hub.publish("big", files=files))
    store = MemoryStore(fail=lambda method, _: stalled.wait(20) and None if method == "upload_part" else None)
    staging = threading.Thread(target=Stager(hub, store, PART).stage, args=("tiny", snapshot))
    staging.start()
    try:
        with hub.more:
            assert hub.more.wait_for(lambda: hub.asked == transfer.PARTS_IN_WINDOW, 10)
            assert not hub.more.wait_for(lambda: hub.asked > transfer.PARTS_IN_WINDOW, 0.3)
    finally:
        stalled.set()
        staging.join(20)
    assert hub.asked == 9 * 9
