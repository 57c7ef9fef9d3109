import json
import threading

import pytest

from genai_pipeline.core.errors import (
    ChecksumMismatch,
    HubUnavailable,
    IncompleteModel,
    Refused,
    StagingError,
    UnsafeFormat,
)
from genai_pipeline.core.manifest import Manifest, manifest_key, staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.staging_verdicts import judge_snapshot
from genai_pipeline.staging.sweep import sweep
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors, safetensors_of
from tests.fakes.world import FakeHub

PART = 1000


@pytest.fixture
def hub():
    return FakeHub()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def stager(hub, store):
    return Stager(hub, store, part_size=PART)


def publish(hub, content="weights", **files):
    return hub.snapshot("owner/tiny", hub.publish(content, files=files or None))


def keys(store):
    return {o.key for o in store.list("")}


def outcomes(verdicts):
    return {v.check: v.outcome for v in verdicts}


def test_what_is_staged_is_what_the_hub_published(hub, store, stager):
    big = safetensors(bytes(range(256)) * 50)
    snapshot = publish(hub, **{"model.safetensors": big, "empty.txt": b"", "config.json": b"{}"})

    manifest = stager.stage("tiny", snapshot)

    prefix = staged_prefix("tiny", snapshot.revision)
    assert {f.path: store.get(prefix + f.path)[0] for f in manifest.files} == {
        "model.safetensors": big,
        "empty.txt": b"",
        "config.json": b"{}",
    }
    assert Manifest.from_bytes(store.get(manifest_key("tiny", snapshot.revision))[0]) == manifest
    assert set(outcomes(stager.verify("tiny", snapshot)).values()) == {Outcome.PASSED}


def test_staging_again_sends_nothing(hub, store, stager):
    snapshot = publish(hub)
    stager.stage("tiny", snapshot)
    sent = store.body_bytes_received

    stager.stage("tiny", snapshot)

    assert store.body_bytes_received == sent


def test_a_rerun_without_a_manifest_sends_only_the_manifest(hub, store, stager):
    snapshot = publish(hub)
    stager.stage("tiny", snapshot)
    store.delete(manifest_key("tiny", snapshot.revision))
    sent = store.body_bytes_received

    stager.stage("tiny", snapshot)

    assert store.body_bytes_received - sent == len(store.get(manifest_key("tiny", snapshot.revision))[0])


def test_a_file_that_another_revision_staged_is_copied_in_the_store(hub, store, stager):
    weights = safetensors_of(5000)
    stager.stage("tiny", publish(hub, "v1", **{"model.safetensors": weights, "a.json": b"1"}))
    sent = store.body_bytes_received

    stager.stage("tiny", publish(hub, "v2", **{"model.safetensors": weights, "a.json": b"2"}))

    assert store.body_bytes_received - sent < len(weights)


class Corrupting(FakeHub):
    """Flips a byte of the first `times` readings of a file that are of more than its header."""

    def __init__(self, path, times):
        super().__init__()
        self._path, self.times = path, times

    def read(self, repository, revision, path, start=0, end=None):
        body = b"".join(super().read(repository, revision, path, start, end))
        if path == self._path and start == 0 and self.times and len(body) > 8:
            self.times -= 1
            body = body[:-1] + bytes([body[-1] ^ 1])
        yield body


@pytest.mark.parametrize(("path", "size"), [("model.safetensors", 5 * PART), ("config.json", 10)])
def test_a_flipped_bit_is_sent_again_once(store, path, size):
    hub = Corrupting(path, times=1)
    snapshot = publish(hub, **{"model.safetensors": safetensors_of(5 * PART), "config.json": b"c" * 10})

    Stager(hub, store, PART).stage("tiny", snapshot)

    assert store.get(staged_prefix("tiny", snapshot.revision) + path)[0] == hub.revisions[snapshot.revision][path]


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_bytes_that_stay_wrong_name_the_file_and_leave_nothing_visible(store, path):
    hub = Corrupting(path, times=99)
    snapshot = publish(hub, **{"model.safetensors": safetensors_of(5 * PART), "config.json": b"c" * 10})

    with pytest.raises(ChecksumMismatch, match=path):
        Stager(hub, store, PART).stage("tiny", snapshot)

    assert staged_prefix("tiny", snapshot.revision) + path not in keys(store)
    assert manifest_key("tiny", snapshot.revision) not in keys(store)
    assert list(store.list_uploads("")) == []


def test_a_hub_that_sends_too_little_is_said_and_nothing_becomes_visible(store):
    class Short(FakeHub):
        def read(self, repository, revision, path, start=0, end=None):
            body = b"".join(super().read(repository, revision, path, start, end))
            yield body[:-1] if len(body) == PART else body

    hub = Short()
    snapshot = publish(hub, **{"model.safetensors": safetensors_of(5 * PART)})

    with pytest.raises(HubUnavailable, match="sent 999 of 1000 bytes"):
        Stager(hub, store, PART).stage("tiny", snapshot)

    assert {key for key in keys(store) if key.startswith("models/")} == set()


def test_more_files_and_parts_than_the_window_holds_do_not_deadlock(hub, store, stager):
    files = {f"model-{n}.safetensors": safetensors_of(PART * 9 + n, bytes([n])) for n in range(20)}

    manifest = stager.stage("tiny", publish(hub, **files))

    assert len(manifest.files) == 20


@pytest.mark.parametrize("path", ["../evil.safetensors", "/etc/passwd", "a/../../b.safetensors", "manifest.json"])
def test_a_path_that_leaves_the_prefix_is_refused_before_anything_moves(hub, store, stager, path):
    with pytest.raises(Refused, match="cannot be staged"):
        stager.stage("tiny", publish(hub, **{path: b"x", "model.safetensors": safetensors(b"w")}))

    assert keys(store) == set()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.PT", "x/model.ckpt", "a.pkl"])
def test_pickles_are_refused_before_anything_moves(hub, store, stager, name):
    with pytest.raises(UnsafeFormat, match="safetensors"):
        stager.stage("tiny", publish(hub, **{name: b"x", "model.safetensors": safetensors(b"w")}))

    assert keys(store) == set()


def test_a_missing_shard_is_named_before_anything_moves(hub, store, stager):
    index = json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}).encode()
    snapshot = publish(hub, **{"model.safetensors.index.json": index, "one.safetensors": safetensors(b"w")})

    with pytest.raises(IncompleteModel, match=r"two\.safetensors"):
        stager.stage("tiny", snapshot)

    assert keys(store) == set()


def test_two_stagers_at_once_end_with_one_manifest(hub, store):
    snapshot = publish(hub, **{"model.safetensors": safetensors_of(9 * PART)})
    together = threading.Barrier(2)
    manifests = []

    def stage():
        together.wait(5)
        manifests.append(Stager(hub, store, PART).stage("tiny", snapshot))

    threads = [threading.Thread(target=stage) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert manifests[0] == manifests[1]
    assert set(outcomes(Stager(hub, store).verify("tiny", snapshot)).values()) == {Outcome.PASSED}


def test_a_manifest_of_other_bytes_is_never_taken_for_ours(hub, store, stager):
    snapshot = publish(hub, **{"model.safetensors": safetensors(b"w")})
    other = Manifest("tiny", "x", snapshot.revision, (), "somebody", "once")

    class Racing(FakeHub):
        def read(self, *args):
            store.put(manifest_key("tiny", snapshot.revision), other.to_bytes())
            return hub.read(*args)

    with pytest.raises(StagingError, match="names other bytes"):
        Stager(Racing(), store).stage("tiny", snapshot)


@pytest.mark.parametrize(
    ("breaks", "check"),
    [
        (lambda store, prefix: store.put(prefix + "model.safetensors", b"other"), "digests_equal_hub"),
        (lambda store, prefix: store.put(prefix + "config.json", b"[]"), "digests_equal_hub"),
        (lambda store, prefix: store.delete(prefix + "model.safetensors"), "digests_equal_hub"),
        (lambda store, prefix: store.put(prefix + "extra.txt", b"x"), "nothing_extra"),
        (
            lambda store, prefix: store.put(
                prefix + "model.safetensors.index.json", b'{"weight_map": {"a": "gone.safetensors"}}'
            ),
            "every_shard_present",
        ),
    ],
)
def test_what_changed_in_the_store_is_found(hub, store, stager, breaks, check):
    snapshot = publish(hub, **{"model.safetensors": safetensors(b"w"), "config.json": b"{}"})
    stager.stage("tiny", snapshot)

    breaks(store, staged_prefix("tiny", snapshot.revision))

    assert outcomes(stager.verify("tiny", snapshot))[check] is Outcome.FAILED


def test_stale_uploads_are_swept_and_young_ones_are_not(store):
    upload = store.begin_upload("models/tiny/x")

    assert sweep(store, now=upload.started_at + 3600) == 0
    assert sweep(store, now=upload.started_at + 25 * 3600) == 1
    assert list(store.list_uploads("")) == []


def test_a_good_snapshot_passes_every_check(hub):
    verdicts = judge_snapshot(publish(hub), ["apache-2.0"], hub)

    assert set(outcomes(verdicts).values()) == {Outcome.PASSED}


@pytest.mark.parametrize(
    ("snapshot", "check"),
    [
        (Snapshot("a/b", "main", (SnapshotFile("m.safetensors", 1),), "mit"), "revision_pinned"),
        (Snapshot("a/b", "a" * 40, (SnapshotFile("m.bin", 1),), "mit"), "safe_formats"),
        (Snapshot("a/b", "a" * 40, (SnapshotFile("config.json", 1),), "mit"), "safe_formats"),
        (Snapshot("a/b", "a" * 40, (SnapshotFile("m.safetensors", 1),), "proprietary"), "licence_allowed"),
        (Snapshot("a/b", "a" * 40, (SnapshotFile("m.safetensors", 1),), None), "licence_allowed"),
        (Snapshot("a/b", "a" * 40, (), "mit"), "repository_reachable"),
    ],
)
def test_each_fault_of_a_snapshot_fails_its_check(snapshot, check):
    class OneByte(FakeHub):
        def read(self, *args):
            yield b"x"

    assert outcomes(judge_snapshot(snapshot, ["mit"], OneByte()))[check] is Outcome.FAILED


def test_a_hub_that_is_down_makes_reachability_inconclusive(hub):
    snapshot = publish(hub)
    hub.down = True

    assert outcomes(judge_snapshot(snapshot, ["apache-2.0"], hub))["repository_reachable"] is Outcome.INCONCLUSIVE
