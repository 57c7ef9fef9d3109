"""Reading a staged model again: every difference is found and named, and a share of it is a share."""

import random

import pytest

from genai_pipeline.core.errors import HubUnavailable, NotFound, RevisionNotFound, StoreUnavailable
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.staging.commit import committed
from genai_pipeline.staging.inventory import chosen_manifest
from genai_pipeline.staging.spot_check import spot_check
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.verify import FileState, Published, published_by, verify_staged
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors_of
from tests.fakes.world import FakeHub

FILES = {f"model-{n:02}.safetensors": safetensors_of(1000, bytes([n])) for n in range(20)} | {"config.json": b"{}"}
NOBODY = Published(None, "")


@pytest.fixture
def hub():
    return FakeHub()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def manifest(hub, store):
    return Stager(hub, store).stage("tiny", hub.snapshot("owner/tiny", hub.publish("v1", files=FILES)))


@pytest.fixture
def prefix(manifest):
    return staged_prefix("tiny", manifest.revision)


def differing(found):
    return {f.path: f.detail for f in found.differing}


def test_what_was_staged_is_equal_byte_by_byte(hub, store, manifest):
    found = verify_staged(store, manifest, published_by(hub, manifest))

    assert found.passed
    assert {f.state for f in found.files} == {FileState.EQUAL}
    assert found.bytes_read == manifest.size_bytes
    assert found.source == f"owner/tiny@{manifest.revision[:12]} publishes the same"


def rewrite(store, key, body):
    """Other bytes under the ETag of before: what a rotten disk does."""
    etag = store.etags[key]
    store.put(key, body)
    store.etags[key] = etag


@pytest.mark.parametrize(
    ("breaks", "path", "says"),
    [
        (lambda s, p: rewrite(s, p + "model-03.safetensors", safetensors_of(1000, b"x")), "model-03.safetensors",
         "the manifest says"),
        (lambda s, p: rewrite(s, p + "config.json", b"[]"), "config.json", "the manifest says"),
        (lambda s, p: s.put(p + "model-03.safetensors", b"short"), "model-03.safetensors", "has 5 bytes"),
        (lambda s, p: s.delete(p + "model-03.safetensors"), "model-03.safetensors", "is missing"),
        (lambda s, p: s.put(p + "more.txt", b"x"), "more.txt", "is not in the manifest"),
    ],
)  # fmt: skip
def test_what_changed_is_named(store, manifest, prefix, breaks, path, says):
    breaks(store, prefix)

    found = verify_staged(store, manifest, NOBODY)

    assert list(differing(found)) == [path]
    assert says in differing(found)[path]


def test_a_manifest_that_was_forged_with_its_file_differs_from_the_source(hub, store, manifest, prefix):
    """The bytes and the manifest agree with each other, and with nothing that was ever published."""
    body = store.objects[manifest_key("tiny", manifest.revision)]
    import hashlib

    ours = {f.path: f for f in manifest.files}["model-03.safetensors"]
    forged = hashlib.sha256(b"f" * 1000).hexdigest()
    store.put(prefix + "model-03.safetensors", b"f" * 1000)
    store.put(manifest_key("tiny", manifest.revision), body.replace(ours.sha256.encode(), forged.encode()))
    manifest = committed(store, "tiny", manifest.revision)

    found = verify_staged(store, manifest, published_by(hub, manifest))

    assert "the source publishes" in differing(found)["model-03.safetensors"]
    assert verify_staged(store, manifest, NOBODY).passed


def test_files_that_the_source_has_more_or_less_of_are_named(hub, store, manifest):
    files = hub.revisions[manifest.revision]
    del files["config.json"]
    files["new.json"] = b"1"

    found = verify_staged(store, manifest, published_by(hub, manifest))

    assert differing(found) == {
        "config.json": "is in the manifest and not in the source",
        "new.json": "is in the source and not in the manifest",
    }


@pytest.mark.parametrize(
    ("error", "says"),
    [(RevisionNotFound("It is gone.", ""), "cannot be compared with: It is gone."),
     (HubUnavailable("No.", ""), "the source did not answer")],
)  # fmt: skip
def test_a_source_that_cannot_say_is_reported_and_changes_nothing(hub, store, manifest, monkeypatch, error, says):
    def refuse(*_):
        raise error

    monkeypatch.setattr(hub, "snapshot", refuse)

    found = verify_staged(store, manifest, published_by(hub, manifest))

    assert found.passed
    assert says in found.source


def test_a_share_reads_that_share_and_compares_size_and_etag_of_the_rest(store, manifest):
    found = verify_staged(store, manifest, NOBODY, share=0.25, rng=random.Random(1))

    assert found.passed
    assert 5000 <= found.bytes_read <= 6000
    assert sum(f.state is FileState.UNREAD for f in found.files) == len(FILES) - sum(
        f.state is FileState.EQUAL for f in found.files
    )


def test_the_smallest_share_reads_one_file_and_all_of_them_get_their_turn(store, manifest):
    read = set()
    for seed in range(200):
        found = verify_staged(store, manifest, NOBODY, share=0.00001, rng=random.Random(seed))
        (one,) = [f.path for f in found.files if f.state is FileState.EQUAL]
        read.add(one)
    assert read == set(FILES)


def test_outside_the_share_an_object_that_was_written_again_is_read_all_the_same(store, manifest, prefix):
    for path in FILES:
        if path.startswith("model"):
            store.put(prefix + path, b"\0" * 999 + b"x")

    found = verify_staged(store, manifest, NOBODY, share=0.0001)

    assert len(found.differing) == 20


def test_a_store_that_does_not_answer_gives_no_verification(store, manifest):
    def fail(method, key):
        if method == "read":
            raise StoreUnavailable("No.", "")

    store.fail = fail
    with pytest.raises(StoreUnavailable):
        verify_staged(store, manifest, NOBODY)


def test_the_progress_is_that_of_the_bytes_read(store, manifest):
    states = []
    verify_staged(store, manifest, NOBODY, progress=states.append)
    assert states[-1].finished
    assert states[-1].bytes_done == manifest.size_bytes


@pytest.mark.parametrize("digits", [40, 12, 4])
def test_a_revision_is_found_by_its_first_digits_and_by_release_id(store, manifest, digits):
    assert chosen_manifest(store, "tiny", manifest.revision[:digits]) == manifest
    assert chosen_manifest(store, "tiny", f"{manifest.revision[:12]}-abcdef") == manifest


def test_one_that_is_not_staged_or_could_be_two_names_what_is(hub, store, manifest):
    with pytest.raises(NotFound, match=manifest.revision[:12]):
        chosen_manifest(store, "tiny", "ffff")
    with pytest.raises(NotFound, match="name one"):
        chosen_manifest(store, "tiny", "")
    twin = manifest.revision[:6] + "0" * 34
    hub.revisions[twin] = FILES
    Stager(hub, store).stage("tiny", hub.snapshot("owner/tiny", twin))
    with pytest.raises(NotFound, match="Give more digits"):
        chosen_manifest(store, "tiny", manifest.revision[:6])


def test_what_differs_is_repaired_by_staging_again_without_the_manifest(hub, store, manifest, prefix):
    """What the message says to do."""
    rewrite(store, prefix + "model-03.safetensors", b"\xff" * 1000)
    sent = store.body_bytes_received
    store.delete(manifest_key("tiny", manifest.revision))

    repaired = Stager(hub, store).stage("tiny", hub.snapshot("owner/tiny", manifest.revision))

    assert verify_staged(store, repaired, published_by(hub, repaired)).passed
    assert store.body_bytes_received - sent == 1000 + len(store.objects[manifest_key("tiny", manifest.revision)])


# The verdict of the nightly check.


def release(manifest):
    return f"{manifest.revision[:12]}-abcdef"


def test_staged_models_in_use_that_are_unchanged_pass(store, manifest):
    verdict = spot_check(store, "tiny", [release(manifest)], 1.0)

    assert verdict.outcome is Outcome.PASSED
    assert {row["release"] for row in verdict.evidence["files"]} == {release(manifest)}


def test_one_changed_byte_of_what_is_in_use_fails_and_names_file_and_release(store, manifest, prefix):
    rewrite(store, prefix + "config.json", b"[]")

    verdict = spot_check(store, "tiny", [release(manifest)], 1.0)

    assert verdict.outcome is Outcome.FAILED
    assert f"config.json of {release(manifest)}" in verdict.summary


def test_a_live_release_that_is_not_staged_any_more_fails(store, manifest):
    store.delete(manifest_key("tiny", manifest.revision))
    assert spot_check(store, "tiny", [release(manifest)], 1.0).outcome is Outcome.FAILED


def test_a_store_that_does_not_answer_is_inconclusive(store, manifest):
    store.go_down()
    assert spot_check(store, "tiny", [release(manifest)], 1.0).outcome is Outcome.INCONCLUSIVE


def test_with_nothing_live_there_is_nothing_to_verify(store):
    verdict = spot_check(store, "tiny", [], 1.0)
    assert verdict.outcome is Outcome.PASSED
    assert "No release of tiny is live" in verdict.summary
