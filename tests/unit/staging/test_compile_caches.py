"""Keeping what an engine compiled: two writers, deaths, and archives that no cache can be."""

import hashlib
import tarfile
from contextlib import suppress

import pytest

from genai_pipeline.core.compile_cache import CacheManifest, CachePlace
from genai_pipeline.core.errors import StagingError, StoreUnavailable
from genai_pipeline.core.faults import ARMED_BY, Crash
from genai_pipeline.staging.compile_caches import find, keep, orphans
from genai_pipeline.staging.transfer import PART_SIZE
from tests.fakes.compiled import ROOT, archive, member
from tests.fakes.store import MemoryStore

PLACE = CachePlace("tiny", "a" * 40, "c" * 64)
DAY = 86400.0
MADE_WITH = {"vllm": "0.33.0"}


def draft(release="aaaaaaaaaaaa-000001"):
    return CacheManifest(PLACE.model, PLACE.revision, PLACE.key, release)


def gives(body):
    """An engine that sends these bytes in pieces."""

    def pull(sink):
        for at in range(0, len(body), 1000):
            sink(body[at : at + 1000])
        return MADE_WITH

    return pull


def kept(store, body, release="aaaaaaaaaaaa-000001", before=None):
    return keep(store, draft(release), gives(body), before or find(store, PLACE))


def archives(store):
    return [key for key in store.objects if key.endswith(".tar")]


def test_what_is_kept_is_found_with_all_that_is_known_about_it():
    store, body = MemoryStore(), archive()

    manifest = kept(store, body)

    assert find(store, PLACE).manifest == manifest
    assert store.objects[manifest.archive_key] == body
    assert manifest.sha256 == hashlib.sha256(body).hexdigest()
    assert (manifest.size, manifest.files, manifest.made_with) == (len(body), 1, MADE_WITH)
    assert [key for _, key in store.calls] == [manifest.archive_key, PLACE.manifest_key]


def test_nothing_is_found_where_nothing_is_kept_and_the_reason_is_given():
    assert (find(MemoryStore(), PLACE).manifest, find(MemoryStore(), PLACE).etag) == (None, "")
    assert find(MemoryStore(), PLACE).why


@pytest.mark.parametrize("body", [b"{", b"{}", draft().to_bytes()], ids=["no json", "empty", "no digest"])
def test_a_damaged_manifest_counts_as_none_and_is_replaced(body):
    store = MemoryStore({PLACE.manifest_key: body})
    found = find(store, PLACE)
    assert (found.manifest, bool(found.why), bool(found.etag)) == (None, True, True)

    manifest = kept(store, archive())

    assert find(store, PLACE).manifest == manifest


def test_a_manifest_whose_archive_is_gone_counts_as_none_and_is_replaced():
    store = MemoryStore()
    store.delete(kept(store, archive()).archive_key)
    assert find(store, PLACE).manifest is None

    manifest = kept(store, archive())

    assert find(store, PLACE).manifest == manifest
    assert archives(store) == [manifest.archive_key]


def test_an_archive_whose_bytes_were_changed_is_sent_again_though_it_has_the_same_name():
    store, body = MemoryStore(), archive()
    damaged = kept(store, body)
    store.put(damaged.archive_key, bytes(len(body)))

    assert store.objects[kept(store, body).archive_key] == body


def test_the_manifest_of_another_key_is_not_this_ones():
    store = MemoryStore()
    other = kept(store, archive())
    wrong = CachePlace("tiny", "a" * 40, "e" * 64)
    store.put(wrong.manifest_key, other.to_bytes())
    assert find(store, wrong).manifest is None


def test_an_engine_that_compiled_nothing_leaves_nothing():
    store = MemoryStore()
    assert keep(store, draft(), lambda sink: None, find(store, PLACE)) is None
    assert store.calls == []


def test_a_large_archive_goes_in_parts_and_is_the_same():
    store, body = MemoryStore(), archive(files={f"{ROOT}/large": bytes(PART_SIZE + 12_345)})

    manifest = kept(store, body)

    assert store.objects[manifest.archive_key] == body
    assert [method for method, _ in store.calls].count("upload_part") == 2
    assert not store.uploads


def test_a_store_that_goes_down_within_the_upload_leaves_no_manifest():
    store = MemoryStore()

    def fail(method, key):
        if method == "complete_upload":
            raise StoreUnavailable("The store did not answer.")

    store.fail = fail
    with pytest.raises(StoreUnavailable):
        kept(store, archive(files={f"{ROOT}/large": bytes(PART_SIZE + 1)}))
    store.come_back()
    assert find(store, PLACE).manifest is None
    assert not store.uploads


@pytest.mark.parametrize(
    "body",
    [
        archive(member("cache/vllm/torch_compile_cache/l", tarfile.SYMTYPE, "/etc/passwd")),
        archive(member("cache/triton/l", tarfile.LNKTYPE, f"{ROOT}/a/graph")),
        archive(member("cache/triton/fifo", tarfile.FIFOTYPE)),
        archive(member("cache/triton/dev", tarfile.CHRTYPE)),
        archive(member("cache/vllm/assets/config.json")),
        archive(member("config/vllm/x")),
        archive(member("/etc/passwd")),
        archive(member("cache/triton/../../etc/passwd")),
        archive(member("./cache/triton/x")),
        archive(member("cache/triton/x.lock")),
        archive(member(".aws/credentials")),
        archive(files={}),
        archive()[:700],
        b"",
        b"not a tar" * 1000,
    ],
    ids=["link", "hard link", "fifo", "device", "assets", "config", "absolute", "climbs", "dot", "lock", "credentials",
         "empty", "torn", "no bytes", "no tar"],
)  # fmt: skip
def test_an_archive_with_anything_else_than_caches_is_refused_and_nothing_is_stored(body):
    store = MemoryStore()
    with pytest.raises(StagingError):
        kept(store, body)
    assert store.objects == {}


def test_a_compressed_archive_is_refused_because_its_size_says_nothing():
    import gzip

    with pytest.raises(StagingError):
        kept(MemoryStore(), gzip.compress(archive()))


def test_of_two_writers_the_first_manifest_counts_and_the_other_archive_goes():
    store = MemoryStore()
    nothing = find(store, PLACE)
    first = kept(store, archive(), "aaaaaaaaaaaa-000001", nothing)

    second = kept(store, archive(files={f"{ROOT}/b": b"other"}), "aaaaaaaaaaaa-000002", nothing)

    assert second == first
    assert archives(store) == [first.archive_key]


def test_two_writers_of_the_same_bytes_leave_them():
    store = MemoryStore()
    nothing = find(store, PLACE)
    first = kept(store, archive(), "aaaaaaaaaaaa-000001", nothing)
    assert kept(store, archive(), "aaaaaaaaaaaa-000002", nothing) == first
    assert archives(store) == [first.archive_key]


def test_a_stale_archive_is_replaced_and_goes():
    store = MemoryStore()
    old = kept(store, archive())

    new = kept(store, archive(files={f"{ROOT}/b": b"other"}), "aaaaaaaaaaaa-000002")

    assert find(store, PLACE).manifest == new != old
    assert archives(store) == [new.archive_key]


def test_of_two_that_replace_a_stale_archive_one_wins():
    store = MemoryStore()
    kept(store, archive())
    stale = find(store, PLACE)
    new = kept(store, archive(files={f"{ROOT}/b": b"b"}), "aaaaaaaaaaaa-000002", stale)

    assert kept(store, archive(files={f"{ROOT}/c": b"c"}), "aaaaaaaaaaaa-000003", stale) == new
    assert archives(store) == [new.archive_key]


@pytest.mark.parametrize(
    "point", ["cache.pulled", "cache.upload_begun", "cache.archive_sent", "cache.manifest_written"]
)
def test_a_writer_that_ended_anywhere_is_run_again_with_the_same_end(monkeypatch, point):
    now = 1_800_000_000.0
    store = MemoryStore(clock=lambda: now)
    kept(store, archive())
    body = archive(files={f"{ROOT}/large": bytes(PART_SIZE + 1)})
    monkeypatch.setenv(ARMED_BY, f"{point}:exception")
    with pytest.raises(Crash):
        kept(store, body)
    monkeypatch.delenv(ARMED_BY)

    manifest = kept(store, body)

    assert find(store, PLACE).manifest == manifest
    assert store.objects[manifest.archive_key] == body
    left = orphans(store, now + 2 * DAY)
    store.delete_all(left)
    assert archives(store) == [manifest.archive_key]


def test_only_old_archives_that_no_manifest_names_are_left_over():
    now = 1_800_000_000.0
    store = MemoryStore(clock=lambda: now)
    named = kept(store, archive())
    stray, alone = PLACE.archive_key("e" * 64), CachePlace("tiny", "a" * 40, "f" * 64).archive_key("e" * 64)
    store.put(stray, b"x")
    store.put(alone, b"x")
    store.put(f"models/tiny/{'a' * 40}/weights.tar", b"a file of the model")

    assert orphans(store, now + DAY - 1) == []
    assert orphans(store, now + DAY + 1) == [stray, alone]
    store.put(PLACE.manifest_key, b"{")
    assert orphans(store, now + DAY + 1) == [alone], "what cannot be read names it perhaps"
    assert named.archive_key in store.objects


def test_a_part_that_a_killed_writer_sent_is_sent_again():
    store, body = MemoryStore(), archive()
    with suppress(RuntimeError):
        keep(store, draft(), _dies_after(body), find(store, PLACE))
    assert store.objects == {}
    assert kept(store, body)


def _dies_after(body):
    def pull(sink):
        sink(body[:100])
        raise RuntimeError("the engine went away")

    return pull
