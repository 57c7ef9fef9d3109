import pytest

from genai_pipeline.core.errors import AlreadyExists, NotFound, StoreConflict
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.staging.stager import Stager
from tests.fakes.stage_once import PART, files, hub_with


def test_a_revision_of_large_and_small_files_arrives_whole(store):
    hub, revision = hub_with("São Paulo")

    manifest = Stager(hub, store, PART).stage("tiny", hub.snapshot("owner/tiny", revision))

    prefix = staged_prefix("tiny", revision)
    assert {f.path: store.get(prefix + f.path)[0] for f in manifest.files} == files("São Paulo")
    assert {f.path: store.head(prefix + f.path).etag for f in manifest.files} == {
        f.path: f.etag for f in manifest.files
    }


def test_the_next_revision_copies_what_did_not_change(store):
    hub, first = hub_with("abc")
    Stager(hub, store, PART).stage("tiny", hub.snapshot("owner/tiny", first))
    second = hub.publish("next", files=files("abc") | {"config.json": b'{"new": 1}'})

    Stager(hub, store, PART).stage("tiny", hub.snapshot("owner/tiny", second))

    assert store.get(staged_prefix("tiny", second) + "model-2.safetensors")[0] == files("abc")["model-2.safetensors"]


def test_conditional_writes_hold(store):
    etag = store.put_new("a", b"1")

    with pytest.raises(AlreadyExists):
        store.put_new("a", b"2")
    with pytest.raises(StoreConflict):
        store.put_if_match("a", b"2", "0" * 32)
    store.put_if_match("a", b"2", etag)
    assert store.get("a")[0] == b"2"


def test_an_absent_key_is_not_found(store):
    with pytest.raises(NotFound, match="does not exist"):
        store.get("nothing")
    assert store.head("nothing") is None


def test_ranges_and_listings(store):
    store.put("d/a", b"0123456789")
    store.put("d/b", b"")

    assert b"".join(store.read("d/a", 2, 5)) == b"234"
    assert [(o.key, o.size) for o in store.list("d/")] == [("d/a", 10), ("d/b", 0)]


def test_an_aborted_upload_leaves_nothing(store):
    upload = store.begin_upload("big")
    store.upload_part(upload, 1, b"x" * PART)
    assert [u.key for u in store.list_uploads("")] == ["big"]

    store.abort_upload(upload)
    store.abort_upload(upload)

    assert list(store.list_uploads("")) == []
    assert store.head("big") is None


def test_wrong_credentials_are_named_and_not_shown(s3_server):
    from genai_pipeline.core.errors import AccessDenied
    from genai_pipeline.gateways.store.s3 import S3Store

    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID") as caught:
        S3Store("genai", s3_server.endpoint, access_key="wrong", secret_key="topsecret").put("a", b"1")
    assert "topsecret" not in str(caught.value)
