"""S3 prefixes and folders as sources, against a real S3: revisions, changes, copies, and the way to a staged model."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.errors import (
    AccessDenied,
    NotReady,
    Refused,
    RepositoryNotFound,
    RevisionNotFound,
    UnsafeFormat,
    UnsafePath,
)
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.source_spec import Source
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.hub import content_hub, source_files
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.hub.content_hub import licence_of
from genai_pipeline.gateways.hub.sources import source_of
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.staging.meter import TransferMethod
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.staging_verdicts import judge_snapshot
from genai_pipeline.staging.transfer_plan import plan_staging
from tests.fakes.model_repository import model_files
from tests.fakes.weights import safetensors
from tests.fakes.world import FakeHub

PART = 5 * 1024 * 1024
BIG = "model-00001-of-00002.safetensors"
FILES = model_files({BIG: 2 * PART + 800, "model-00002-of-00002.safetensors": 3000}, seed=5) | {
    "README.md": b"---\nlicense: apache-2.0\n---\n# A model\n"
}


@pytest.fixture
def bucket(s3_server: Any) -> S3Store:
    bucket = s3_server.store(f"source-{uuid.uuid4().hex[:12]}")
    bucket.ensure_bucket()
    return bucket


@pytest.fixture(params=["s3", "folder"])
def place(request: pytest.FixtureRequest, bucket: S3Store, tmp_path: Path) -> Place:
    return S3Place(bucket) if request.param == "s3" else FolderPlace(tmp_path / "model")


class Place:
    """Somewhere that files can be put and taken away."""

    source: Source

    def put(self, path: str, body: bytes) -> None:
        raise NotImplementedError

    def delete(self, path: str) -> None:
        raise NotImplementedError


class S3Place(Place):
    def __init__(self, bucket: S3Store) -> None:
        self.bucket = bucket
        self.source = Source(s3=f"s3://{bucket.bucket}/some/model")

    def put(self, path: str, body: bytes) -> None:
        self.bucket.put(f"some/model/{path}", body)

    def delete(self, path: str) -> None:
        self.bucket.delete(f"some/model/{path}")


class FolderPlace(Place):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = Source(folder=str(folder))

    def put(self, path: str, body: bytes) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)

    def delete(self, path: str) -> None:
        (self.folder / path).unlink()


def filled(place: Place, among: dict[str, bytes] | None = None) -> Place:
    for path, body in (among or FILES).items():
        place.put(path, body)
    return place


def opened(place: Place, store: S3Store, **settings: Any) -> Hub:
    return source_of(place.source.model_copy(update=settings), FakeHub(), store)


def resolved(hub: Hub) -> str:
    return hub.resolve("", "main")


def test_what_lies_there_is_staged_byte_by_byte_and_passes_every_check(place: Place, store: S3Store):
    hub = opened(filled(place), store)
    revision = resolved(hub)
    snapshot = hub.snapshot(place.source.address, revision)
    assert (snapshot.source, snapshot.licence) == (place.source.address, "apache-2.0")

    manifest = Stager(hub, store, PART).stage("tiny", snapshot)

    assert {f.path: store.get(staged_prefix("tiny", revision) + f.path)[0] for f in manifest.files} == FILES
    assert {v.outcome for v in Stager(hub, store, PART).verify("tiny", snapshot)} == {Outcome.PASSED}
    assert {v.outcome for v in judge_snapshot(snapshot, ["apache-2.0"], hub)} == {Outcome.PASSED}


def test_a_revision_stands_for_the_content_wherever_and_whenever_it_is_written(
    bucket: S3Store, tmp_path: Path, store: S3Store
):
    at_s3, in_folder = filled(S3Place(bucket)), filled(FolderPlace(tmp_path / "m"))
    revision = resolved(opened(at_s3, store))
    assert len(revision) == 40
    assert resolved(opened(in_folder, store)) == revision

    upload = bucket.begin_upload(f"some/model/{BIG}")  # the same bytes with another ETag
    parts = [
        bucket.upload_part(upload, n, FILES[BIG][s : s + PART])
        for n, s in enumerate(range(0, len(FILES[BIG]), PART), 1)
    ]
    bucket.complete_upload(upload, parts)
    os.utime(tmp_path / "m" / BIG)

    assert resolved(opened(at_s3, store)) == resolved(opened(in_folder, store)) == revision


@pytest.mark.parametrize("change", ["another byte", "a file more", "a file less", "another name"])
def test_every_change_is_a_new_revision(place: Place, store: S3Store, change: str):
    hub = opened(filled(place), store)
    before = resolved(hub)
    if change == "another byte":
        place.put("config.json", FILES["config.json"][:-1] + b" ")
    elif change == "a file more":
        place.put("more.txt", b"")
    else:
        place.delete("sub/notes.txt")
        if change == "another name":
            place.put("sub/note.txt", FILES["sub/notes.txt"])

    assert resolved(hub) != before


def test_a_tick_reads_nothing_that_was_read_before_and_takes_less_than_its_time(
    place: Place, store: S3Store, monkeypatch: pytest.MonkeyPatch
):
    revision = resolved(opened(filled(place), store))
    place.put("new.txt", b"new")
    read: list[str] = []
    for kind in (source_files.S3Files, source_files.FolderFiles):
        monkeypatch.setattr(kind, "read", noting(kind.read, read))

    again = opened(place, store)  # as after a restart
    assert resolved(again) != revision
    assert read == ["new.txt"]
    started = time.perf_counter()
    resolved(again)
    assert read == ["new.txt"]
    assert time.perf_counter() - started < 5  # some milliseconds; benchmarks say how many


def noting(honest: Callable[..., Iterator[bytes]], read: list[str]) -> Callable[..., Iterator[bytes]]:
    def reading(self: Any, file: Any, *args: Any) -> Iterator[bytes]:
        read.append(file.path)
        return honest(self, file, *args)

    return reading


def held(honest: Callable[..., Iterator[bytes]], may_read: threading.Event) -> Callable[..., Iterator[bytes]]:
    def reading(*args: Any) -> Iterator[bytes]:
        assert may_read.wait(30)
        return honest(*args)

    return reading


def test_a_first_reading_that_takes_long_goes_on_behind_the_tick(
    place: Place, store: S3Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(content_hub, "RESOLVE_WAIT_S", 0.0)
    may_read = threading.Event()
    for kind in (source_files.S3Files, source_files.FolderFiles):
        monkeypatch.setattr(kind, "read", held(kind.read, may_read))
    hub = opened(filled(place), store)
    with pytest.raises(NotReady, match=r"of 0\.01 GB"):
        resolved(hub)
    may_read.set()
    end = time.monotonic() + 30
    while True:
        try:
            revision = resolved(hub)
            break
        except NotReady:
            assert time.monotonic() < end
    assert hub.snapshot("", revision).revision == revision


@pytest.mark.parametrize("path", [BIG, "config.json"])
@pytest.mark.parametrize("gone", [False, True], ids=["changed", "gone"])
def test_a_source_that_changes_after_its_snapshot_is_refused_by_name(
    place: Place, store: S3Store, path: str, gone: bool
):
    hub = opened(filled(place), store)
    snapshot = hub.snapshot("", resolved(hub))
    if gone:
        place.delete(path)
    else:
        place.put(path, FILES[path][:-1] + b"?")

    with pytest.raises(RevisionNotFound, match=snapshot.revision[:12] if gone else path) as raised:
        Stager(hub, store, PART).stage("tiny", snapshot)

    assert "Nothing was staged" in raised.value.remedy
    assert [o.key for o in store.list("models/") if o.key.endswith(("manifest.json", path))] == []
    with pytest.raises(RevisionNotFound):
        opened(place, store).snapshot("", snapshot.revision)


def test_a_file_that_is_written_again_with_the_same_bytes_is_read_on(place: Place, store: S3Store):
    hub = opened(filled(place), store)
    snapshot = hub.snapshot("", resolved(hub))
    reading = hub.read("", snapshot.revision, BIG)
    got = next(reading)
    place.put("config.json", FILES["config.json"])
    assert b"".join(hub.read("", snapshot.revision, "config.json")) == FILES["config.json"]
    assert got + b"".join(reading) == FILES[BIG]


def test_the_server_copies_from_another_bucket_of_its_own_and_the_bytes_are_verified(bucket: S3Store, store: S3Store):
    hub = opened(filled(S3Place(bucket)), store)
    snapshot = hub.snapshot("", resolved(hub))
    planned = plan_staging("tiny", snapshot, store)
    assert {item.how for item in planned} == {TransferMethod.COPIED}
    assert planned[0].copy_of == f"s3://{bucket.bucket}/some/model/{BIG}"
    sent = store.requests()

    Stager(hub, store, PART).stage("tiny", snapshot)

    done = {kind: count - sent.get(kind, 0) for kind, count in store.requests().items()}
    assert done.get("UploadPart", 0) == 0, done


@pytest.mark.parametrize("prefix", ["", "models/tiny/"])
def test_a_source_around_what_staging_writes_is_refused_since_it_would_never_be_the_same(prefix: str, store: S3Store):
    for path, body in FILES.items():
        store.put(f"{prefix}{path}", body)
    around = Source(s3=f"s3://{store.bucket}/{prefix}")

    def stage_twice() -> None:  # at first there is nothing of ours
        for hub in (source_of(around, FakeHub(), store), source_of(around, FakeHub(), store)):
            Stager(hub, store, PART).stage("tiny", hub.snapshot("", resolved(hub)))

    with pytest.raises(Refused, match="which staging writes"):
        stage_twice()

    ours = ("models/**", "sources/**", "leases/**") if prefix == "" else ("*/**",)
    but_ours = source_of(around.model_copy(update={"exclude": ours}), FakeHub(), store)
    revision = resolved(but_ours)
    Stager(but_ours, store, PART).stage("tiny", but_ours.snapshot("", revision))
    assert resolved(but_ours) == revision


def test_from_another_endpoint_everything_is_streamed(bucket: S3Store, store: S3Store, s3_server: Any):
    place = filled(S3Place(bucket))
    hub = opened(place, store, endpoint=s3_server.endpoint)
    snapshot = hub.snapshot("", resolved(hub))
    assert {f.copy_of for f in snapshot.files} == {None}
    assert {item.how for item in plan_staging("tiny", snapshot, store)} == {TransferMethod.STREAMED}


def test_a_staged_model_is_a_source_whose_digests_are_known(store: S3Store, monkeypatch: pytest.MonkeyPatch):
    fake = FakeHub()
    Stager(fake, store).stage("tiny", fake.snapshot("owner/tiny", fake.publish("v1")))
    (key,) = [o.key for o in store.list("models/tiny/") if o.key.endswith("manifest.json")]
    source = Source(s3=store.url(key.removesuffix("manifest.json")))
    read = source_files.S3Files.read

    def read_no_weights(self: Any, file: Any, *part: int) -> Any:
        assert not file.path.endswith(".safetensors"), "weights were read"
        return read(self, file, *part)

    monkeypatch.setattr(source_files.S3Files, "read", read_no_weights)

    hub = source_of(source, fake, store)

    assert "manifest.json" not in {f.path for f in hub.snapshot("", resolved(hub)).files}


def test_only_what_the_model_file_selects_is_listed_read_and_staged(place: Place, store: S3Store):
    filled(place)
    place.put("original/consolidated.pth", b"\x80\x02pickle")
    everything = opened(place, store)
    with pytest.raises(UnsafeFormat, match=r'(?s)original/consolidated\.pth.*exclude: \["\*\.pth"\]'):
        Stager(everything, store).stage("tiny", everything.snapshot("", resolved(everything)))

    chosen = opened(place, store, exclude=("original/", "sub/*"), include=("*.safetensors", "*.json", "original/*"))
    snapshot = chosen.snapshot("", resolved(chosen))

    assert {f.path for f in snapshot.files} == {p for p in FILES if p.endswith((".json", ".safetensors"))}
    assert snapshot.licence == "apache-2.0"


def test_a_format_that_the_model_file_allows_is_staged(place: Place, store: S3Store):
    place.put("model.gguf", b"GGUF")
    place.put("model.safetensors", safetensors(b"w"))
    hub = opened(place, store, formats=("gguf", "safetensors"))
    snapshot = hub.snapshot("", resolved(hub))
    assert Stager(hub, store).stage("tiny", snapshot).files[0].path == "model.gguf"
    assert {v.check: v.outcome for v in judge_snapshot(snapshot, ["any"], hub)}["safe_formats"] is Outcome.PASSED


def test_the_markers_by_which_consoles_make_folders_are_no_files(bucket: S3Store, store: S3Store):
    place = filled(S3Place(bucket), {"model.safetensors": safetensors(b"w")})
    bucket.put("some/model/", b"")
    bucket.put("some/model/sub/", b"")
    hub = opened(place, store)
    assert [f.path for f in hub.snapshot("", resolved(hub)).files] == ["model.safetensors"]


def test_a_link_stands_for_its_file_and_what_tools_keep_for_themselves_is_left_out(tmp_path: Path, store: S3Store):
    blob = tmp_path / "blobs" / "abc"
    blob.parent.mkdir()
    blob.write_bytes(safetensors(b"w"))
    place = filled(FolderPlace(tmp_path / "m"), {".git/HEAD": b"x", ".cache/a.lock": b"", ".gitattributes": b"x"})
    (tmp_path / "m" / "model.safetensors").symlink_to(blob)
    hub = opened(place, store)
    assert [f.path for f in hub.snapshot("", resolved(hub)).files] == [".gitattributes", "model.safetensors"]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda at: at.symlink_to(at.parent / "nowhere"), AccessDenied, "cannot be read: No such file"),
        (lambda at: at.symlink_to(at.parent.parent), UnsafePath, "is a link to a folder"),
        (os.mkfifo, UnsafePath, "is not a regular file"),
    ],
    ids=["a link to nowhere", "a link to a folder", "a pipe"],
)
def test_what_cannot_be_read_as_a_file_is_named(tmp_path: Path, store: S3Store, make: Any, error: Any, says: str):
    place = filled(FolderPlace(tmp_path / "m"), {"model.safetensors": safetensors(b"w")})
    make(tmp_path / "m" / "strange")
    with pytest.raises(error, match=rf"strange {says}"):
        resolved(opened(place, store))
    resolved(opened(place, store, exclude=("strange",)))


def test_a_folder_that_is_not_there_says_what_to_correct(tmp_path: Path, store: S3Store):
    with pytest.raises(RepositoryNotFound, match=r"no folder .*source\.folder"):
        resolved(opened(FolderPlace(tmp_path / "nothing"), store))


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\ntags: [a]\n---\n# Model", "mit"),
        ("# Model\nlicense: mit", None),
        ("---\ntags: [a]\n---\n", None),
        ("---\nlicense: [mit, gpl]\n---\n", "mit AND gpl"),
        ("---\nlicense: {a\n---\n", None),
        ("", None),
    ],
)
def test_a_licence_is_what_the_cards_front_matter_states(card: str, licence: str | None):
    assert licence_of(card) == licence


def test_any_licence_is_allowed_where_the_model_file_says_so(place: Place, store: S3Store):
    place.put("model.safetensors", safetensors(b"w"))
    hub = opened(place, store)
    snapshot = hub.snapshot("", resolved(hub))

    def verdict(*allowed: str) -> Outcome:
        return {v.check: v.outcome for v in judge_snapshot(snapshot, allowed, hub)}["licence_allowed"]

    assert (verdict("mit"), verdict("any")) == (Outcome.FAILED, Outcome.PASSED)
