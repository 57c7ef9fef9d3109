"""One corruption at a time, through a real hub server, its real client and a real S3: refused by name, never staged."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genai_pipeline.core.errors import GenaiError, HubUnavailable, RevisionNotFound
from genai_pipeline.core.manifest import MANIFEST_NAME, manifest_key, staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
from genai_pipeline.gateways.store.abc import Upload, UploadedPart
from genai_pipeline.gateways.store.checksums import crc64nvme
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.local.hub import hub_api, hub_refs, hub_server
from genai_pipeline.local.hub.hub_server import HubServer
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.sweep import sweep
from tests.fakes.model_repository import INDEX, model_files, write_repository
from tests.fakes.tiers import one_per_class
from tests.faults.staging.corrupt_content import (
    CONTENT,
    CONTENT_IN_SHORT,
    FIRST,
    LISTINGS,
    LISTINGS_IN_SHORT,
    SECOND,
    Corruption,
    good_files,
)
from tests.faults.staging.world import PART, TWO_DAYS_S
from tests.integration.conftest import S3Server

LARGE = {FIRST: 2 * PART + 1000, SECOND: 3000}


@dataclass
class Desk:
    """A hub over a folder, and a bucket; every model has a name of its own in both."""

    server: HubServer
    store: S3Store
    name: str

    @property
    def hub(self) -> HuggingFaceHub:
        return HuggingFaceHub(self.server.url, sleep=lambda _: None)

    @property
    def folder(self) -> Path:
        return self.server.folder / "owner" / self.name / "v1"

    def publish(self, files: dict[str, bytes]) -> Snapshot:
        write_repository(self.server.folder, f"owner/{self.name}", {"v1": files})
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        return self.hub.snapshot(f"owner/{self.name}", "main")

    def stage(self, snapshot: Snapshot, store: S3Store | None = None) -> None:
        Stager(self.hub, store or self.store, PART).stage(self.name, snapshot)

    def refuses(self, snapshot: Snapshot, names: str, error: type[Exception], store: S3Store | None = None) -> None:
        """By name and with a remedy; nothing is there that a reader would take for a model."""
        with pytest.raises(error) as raised:
            self.stage(snapshot, store)
        assert isinstance(raised.value, GenaiError)
        assert names in str(raised.value)
        assert raised.value.remedy, "it does not say what to do"
        self.has_nothing(snapshot)

    def has_nothing(self, snapshot: Snapshot) -> None:
        assert self.store.head(manifest_key(self.name, snapshot.revision)) is None
        sweep(self.store, time.time() + TWO_DAYS_S)
        assert list(self.store.list_uploads(f"models/{self.name}/")) == []

    def verdicts(self, snapshot: Snapshot) -> dict[str, Outcome]:
        return {v.check: v.outcome for v in Stager(self.hub, self.store, PART).verify(self.name, snapshot)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    home = tmp_path_factory.mktemp("corrupt")
    (home / "hub").mkdir()
    with HubServer(home / "hub", home / "state") as server:
        yield server


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> S3Store:
    store = s3_server.store(f"corrupt-{uuid.uuid4().hex[:12]}")
    store.ensure_bucket()
    return store


@pytest.fixture
def desk(server: HubServer, bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return Desk(server, bucket, f"m{uuid.uuid4().hex[:10]}")


@pytest.mark.parametrize("corruption", one_per_class(CONTENT, CONTENT_IN_SHORT))
def test_a_revision_that_was_published_wrong_is_refused(desk: Desk, corruption: Corruption):
    files = good_files()
    corruption.change(files)

    desk.refuses(desk.publish(files), corruption.names, corruption.error)

    # Nothing was sent either, but for a file whose bytes have to be read to know what they are.
    sent = {found.key.rpartition("/")[2] for found in desk.store.list(f"models/{desk.name}/")}
    assert corruption.names not in sent
    assert not sent or "harmless name" in corruption.name


@pytest.mark.parametrize("corruption", one_per_class(LISTINGS, LISTINGS_IN_SHORT))
def test_a_revision_that_is_listed_wrong_is_refused(
    desk: Desk, corruption: Corruption, monkeypatch: pytest.MonkeyPatch
):
    desk.publish(good_files())
    honest = hub_api.model_info

    def lying(*args: Any) -> dict[str, Any]:
        answer = honest(*args)
        if answer["siblings"] and "size" in answer["siblings"][0]:
            corruption.change(answer["siblings"])
        return answer

    monkeypatch.setattr(hub_api, "model_info", lying)

    if corruption.error is HubUnavailable:  # the gateway names it, before there is a snapshot
        with pytest.raises(HubUnavailable, match=corruption.names):
            desk.snapshot()
    else:
        desk.refuses(desk.snapshot(), corruption.names, corruption.error)

    assert list(desk.store.list(f"models/{desk.name}/")) == []


def test_the_same_revision_without_a_corruption_is_staged_and_verified(desk: Desk):
    snapshot = desk.publish(good_files())
    desk.stage(snapshot)
    assert set(desk.verdicts(snapshot).values()) == {Outcome.PASSED}


def rewritten(file: Path, change: Callable[[bytearray], object]) -> None:
    """Other bytes behind the hub's back: it goes on publishing the digest of before."""
    before, body = file.stat(), bytearray(file.read_bytes())
    change(body)
    file.write_bytes(body)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def keep_listing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub lists what it listed before, whatever lies in its folder now."""
    listed = hub_refs.files_under(desk.folder)
    monkeypatch.setattr(hub_refs, "files_under", lambda _: listed)


def flip(at: int) -> Callable[[bytearray], object]:
    def change(body: bytearray) -> None:
        body[at] ^= 1

    return change


def swap(a: int, b: int, size: int) -> Callable[[bytearray], object]:
    def change(body: bytearray) -> None:
        body[a : a + size], body[b : b + size] = body[b : b + size], body[a : a + size]

    return change


def blank(body: bytearray) -> None:
    body[1000:] = bytes(len(body) - 1000)


IN_TRANSIT = {
    "the first byte of a shard flipped": (FIRST, flip(0)),
    "a byte of its header flipped": (FIRST, flip(20)),
    "a byte of its first part flipped": (FIRST, flip(PART // 2)),
    "a byte on the border of two parts flipped": (FIRST, flip(PART)),
    "the last byte of a shard flipped": (FIRST, flip(-1)),
    "two bytes of a shard swapped": (FIRST, swap(2000, 3000, 1)),
    "two parts of a shard swapped": (FIRST, swap(1000, PART + 1000, PART - 1000)),
    "a body of zeros of the same size": (FIRST, blank),
    "a byte of a small shard flipped": (SECOND, flip(-1)),
    "a byte of the index flipped": (INDEX, flip(-1)),
    "a byte of the configuration flipped": ("config.json", flip(3)),
    "a file in a folder flipped": ("sub/notes.txt", flip(3)),
    "a truncated shard": (FIRST, lambda body: body.__delitem__(slice(-100, None))),
    "a truncated configuration": ("config.json", lambda body: body.__delitem__(slice(-1, None))),
    "an emptied shard": (SECOND, lambda body: body.clear()),
}
IN_TRANSIT_IN_SHORT = {
    "a byte on the border of two parts flipped",
    "a byte of the configuration flipped",
    "a truncated shard",
}


@pytest.mark.parametrize("name", one_per_class(IN_TRANSIT, IN_TRANSIT_IN_SHORT))
def test_bytes_that_are_not_the_published_ones_are_refused(desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch):
    path, change = IN_TRANSIT[name]
    snapshot = desk.publish(model_files(LARGE, seed=8))
    keep_listing(desk, monkeypatch)
    rewritten(desk.folder / path, change)

    desk.refuses(snapshot, path, GenaiError)

    assert desk.store.head(staged_prefix(desk.name, snapshot.revision) + path) is None


def test_two_files_that_were_sent_for_each_other_are_refused(desk: Desk):
    snapshot = desk.publish(model_files({FIRST: 4000, SECOND: 4000}, seed=9))
    one, other = (desk.folder / FIRST).read_bytes(), (desk.folder / SECOND).read_bytes()
    rewritten(desk.folder / FIRST, lambda body: body.__setitem__(slice(None), other))
    rewritten(desk.folder / SECOND, lambda body: body.__setitem__(slice(None), one))

    desk.refuses(snapshot, ".safetensors", GenaiError)


def test_a_file_that_disappears_mid_way_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    snapshot = desk.publish(good_files())
    keep_listing(desk, monkeypatch)
    (desk.folder / SECOND).unlink()

    desk.refuses(snapshot, SECOND, GenaiError)


def test_a_ref_that_moves_mid_way_changes_nothing_of_what_is_staged(desk: Desk):
    snapshot = desk.publish(good_files())
    desk.publish(good_files())
    write_repository(desk.server.folder, f"owner/{desk.name}", {"v1": good_files(), "v2": {"config.json": b"{}"}})
    assert desk.hub.resolve(f"owner/{desk.name}", "main") != snapshot.revision

    desk.stage(snapshot)

    assert set(desk.verdicts(snapshot).values()) == {Outcome.PASSED}


def test_a_hub_that_sends_files_of_another_commit_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    snapshot = desk.publish(good_files())
    honest = hub_server.file_headers
    monkeypatch.setattr(hub_server, "file_headers", lambda commit, file: honest("d" * 40, file))

    desk.refuses(snapshot, "commit dddddddddddd", RevisionNotFound)


class WrongParts(S3Store):
    """Stores other bytes than it is given in each second part, with a checksum that fits them."""

    def upload_part(self, upload: Upload, number: int, body: Any) -> UploadedPart:
        stored = bytes(body)
        if number == 2:
            stored = bytes([stored[0] ^ 1]) + stored[1:]
        sent = super().upload_part(upload, number, stored)
        return UploadedPart(number, sent.size, sent.etag, crc64nvme(body))


def test_a_part_that_is_stored_wrongly_never_becomes_a_model(
    desk: Desk, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    snapshot = desk.publish(model_files(LARGE, seed=8))
    store = WrongParts(desk.store.bucket, s3_server.settings())

    with pytest.raises(GenaiError, match=FIRST):
        desk.stage(snapshot, store)

    assert desk.store.head(manifest_key(desk.name, snapshot.revision)) is None
    desk.stage(snapshot)  # and what is continued then is not the part that is wrong
    assert set(desk.verdicts(snapshot).values()) == {Outcome.PASSED}


AFTERWARDS: dict[str, tuple[Callable[[S3Store, str], object], str]] = {
    "a shard flipped": (lambda s, p: flipped(s, p + FIRST), "digests_equal_hub"),
    "the configuration flipped": (lambda s, p: flipped(s, p + "config.json"), "digests_equal_hub"),
    "a shard truncated": (lambda s, p: s.put(p + SECOND, s.get(p + SECOND)[0][:-1]), "digests_equal_hub"),
    "a shard emptied": (lambda s, p: s.put(p + SECOND, b""), "digests_equal_hub"),
    "a shard replaced by a pickle": (lambda s, p: s.put(p + SECOND, b"\x80\x04K\x01."), "digests_equal_hub"),
    "a shard replaced by the other one": (lambda s, p: s.put(p + FIRST, s.get(p + SECOND)[0]), "digests_equal_hub"),
    "a shard deleted": (lambda s, p: s.delete(p + SECOND), "every_shard_present"),
    "the configuration deleted": (lambda s, p: s.delete(p + "config.json"), "digests_equal_hub"),
    "the index replaced": (
        lambda s, p: s.put(p + INDEX, b'{"weight_map": {"a": "gone.safetensors"}}'),
        "every_shard_present",
    ),
    "the index broken": (lambda s, p: s.put(p + INDEX, b"{"), "every_shard_present"),
    "one file more": (lambda s, p: s.put(p + "more.txt", b"x"), "nothing_extra"),
    "a pickle more": (lambda s, p: s.put(p + "pytorch_model.bin", b"x"), "nothing_extra"),
}
AFTERWARDS_IN_SHORT = {"a shard flipped", "a shard deleted", "the index broken", "one file more"}


def flipped(store: S3Store, key: str) -> None:
    body = bytearray(store.get(key)[0])
    body[-1] ^= 1
    store.put(key, bytes(body))


@pytest.mark.parametrize("name", one_per_class(AFTERWARDS, AFTERWARDS_IN_SHORT))
def test_what_is_changed_in_the_bucket_afterwards_is_seen(desk: Desk, name: str):
    breaks, check = AFTERWARDS[name]
    snapshot = desk.publish(good_files())
    desk.stage(snapshot)

    breaks(desk.store, staged_prefix(desk.name, snapshot.revision))

    assert desk.verdicts(snapshot)[check] is Outcome.FAILED


@pytest.mark.parametrize(
    "body", [b"not json", *(pytest.param(b, marks=pytest.mark.long) for b in (b"", b"{}", b'{"files": 1}'))]
)
def test_a_manifest_that_someone_broke_is_named(desk: Desk, body: bytes):
    snapshot = desk.publish(good_files())
    desk.stage(snapshot)
    desk.store.put(manifest_key(desk.name, snapshot.revision), body)

    with pytest.raises(GenaiError, match=rf"{MANIFEST_NAME} is not a manifest"):
        desk.verdicts(snapshot)


def test_there_are_sixty_corruptions_and_each_has_a_name_of_its_own():
    names = [str(c) for c in itertools.chain(CONTENT, LISTINGS)] + [*IN_TRANSIT, *AFTERWARDS]
    assert len(set(names)) == len(names) >= 60
