"""What every ObjectStore must do, whatever is behind it. Both the fake and S3 are held to it."""

from __future__ import annotations

import time

import pytest

from genai_pipeline.core.errors import AlreadyExists, NotFound, StoreConflict
from genai_pipeline.gateways.store.abc import ObjectStore

MIB = 1024 * 1024


class StoreContract:
    """Inherit, and provide a fixture `store` with an empty bucket."""

    def test_what_was_put_is_read_back_listed_and_headed_alike(self, store: ObjectStore):
        etag = store.put("a/one", b"first")
        assert store.get("a/one") == (b"first", etag)
        found = store.head("a/one")
        assert found is not None
        assert (found.size, found.etag) == (5, etag)
        assert [(o.key, o.size, o.etag) for o in store.list("a/")] == [("a/one", 5, etag)]
        (listed,) = store.list("a/")
        assert listed.modified_at == pytest.approx(found.modified_at, abs=1)
        assert listed.modified_at == pytest.approx(time.time(), abs=60)

    def test_a_range_is_half_open(self, store: ObjectStore):
        store.put("k", b"0123456789")
        assert b"".join(store.read("k", 2, 5)) == b"234"
        assert b"".join(store.read("k", 7)) == b"789"
        assert b"".join(store.read("k", 4, 4)) == b""

    def test_absent_keys_are_none_or_not_found(self, store: ObjectStore):
        assert store.head("nothing") is None
        for ask in (lambda: store.get("nothing"), lambda: list(store.read("nothing"))):
            with pytest.raises(NotFound, match="nothing"):
                ask()
        with pytest.raises(NotFound, match="nothing"):
            store.copy("nothing", "elsewhere")

    def test_put_new_never_overwrites(self, store: ObjectStore):
        store.put_new("k", b"mine")
        with pytest.raises(AlreadyExists, match="k"):
            store.put_new("k", b"yours")
        assert store.get("k")[0] == b"mine"

    def test_put_if_match_overwrites_only_what_was_read(self, store: ObjectStore):
        read = store.put("k", b"one")
        store.put_if_match("k", b"two", read)
        with pytest.raises(StoreConflict, match="k"):
            store.put_if_match("k", b"three", read)
        store.delete("k")
        with pytest.raises(StoreConflict, match="k"):
            store.put_if_match("k", b"four", read)

    def test_deleting_twice_is_fine(self, store: ObjectStore):
        store.put("k", b"x")
        store.delete("k")
        store.delete("k")
        assert store.head("k") is None

    def test_many_are_deleted_at_once_and_nothing_else(self, store: ObjectStore):
        keys = [f"k/{n} ü&<.bin" for n in range(20)]
        for key in (*keys, "kept"):
            store.put(key, b"x")
        store.delete_all([*keys, "was/never/there"])
        store.delete_all([])
        assert [o.key for o in store.list("")] == ["kept"]

    def test_a_copy_has_the_same_bytes(self, store: ObjectStore):
        store.put("k", b"bytes")
        store.copy("k", "deep/er/copy")
        assert store.get("deep/er/copy")[0] == b"bytes"

    def test_only_the_source_that_was_seen_is_copied(self, store: ObjectStore):
        seen = store.put("k", b"one")
        store.copy("k", "copy", seen)
        store.put("k", b"two")
        with pytest.raises(StoreConflict, match="k"):
            store.copy("k", "other", seen)
        assert store.get("copy")[0] == b"one"
        assert store.head("other") is None

    def test_an_upload_is_visible_only_when_complete(self, store: ObjectStore):
        upload = store.begin_upload("p/big")
        parts = [store.upload_part(upload, 2, b"end"), store.upload_part(upload, 1, b"a" * 5 * MIB)]
        assert store.head("p/big") is None
        assert [(u.key, u.upload_id) for u in store.list_uploads("p/")] == [("p/big", upload.upload_id)]
        assert abs(upload.started_at - time.time()) < 60
        store.complete_upload(upload, parts)
        assert store.get("p/big")[0] == b"a" * 5 * MIB + b"end"
        assert list(store.list_uploads("p/")) == []

    def test_an_aborted_upload_leaves_nothing_and_aborting_twice_is_fine(self, store: ObjectStore):
        upload = store.begin_upload("p/big")
        store.upload_part(upload, 1, b"a")
        store.abort_upload(upload)
        store.abort_upload(upload)
        assert list(store.list_uploads("")) == []
        assert list(store.list("")) == []
        with pytest.raises(NotFound):
            store.upload_part(upload, 2, b"b")

    def test_a_listing_has_every_key_below_the_prefix_and_no_other(self, store: ObjectStore):
        for key in ("m/a/1", "m/a/2", "m/ab", "n"):
            store.put(key, b"")
        assert [o.key for o in store.list("m/a/")] == ["m/a/1", "m/a/2"]
        assert len(list(store.list(""))) == 4

    def test_ensuring_the_bucket_twice_is_fine(self, store: ObjectStore):
        store.put("kept", b"1")
        store.ensure_bucket()
        store.ensure_bucket()
        assert store.exists()
        assert store.now() == pytest.approx(time.time(), abs=60)
        assert store.get("kept")[0] == b"1"
