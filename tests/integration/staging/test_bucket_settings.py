"""Encryption with a KMS key, requester pays, and other buckets: what every request of ours carries, on a real S3."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from genai_pipeline.core.errors import NotFound, StoreConflict
from genai_pipeline.gateways.store.s3 import S3Store
from tests.fakes.store_contract import MIB

KEY = "arn:aws:kms:eu-west-1:123456789012:key/abc"
SSE = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": KEY,
    "x-amz-server-side-encryption-bucket-key-enabled": "true",
}
PAYER = "x-amz-request-payer"


class Headers:
    """Notes the headers of each operation, and takes those away that only Amazon's S3 knows."""

    def __init__(self, store: S3Store) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        store._s3.meta.events.register("before-sign.s3", self.note)

    def note(self, request: Any, operation_name: str, **_: Any) -> None:
        named = {k.lower(): v if isinstance(v, str) else v.decode() for k, v in request.headers.items()}
        self.seen.append((operation_name, {k: v for k, v in named.items() if k in {*SSE, PAYER}}))
        for name in SSE:
            del request.headers[name]

    def of(self, operation: str) -> list[dict[str, str]]:
        return [headers for name, headers in self.seen if name == operation]


@pytest.fixture
def other(s3_server: Any) -> S3Store:
    other = s3_server.store(f"other-{uuid.uuid4().hex[:12]}")
    other.ensure_bucket()
    return other


def same_bucket(store: S3Store, s3_server: Any, **settings: Any) -> S3Store:
    return S3Store(store.bucket, s3_server.settings(**settings))


def test_everything_that_is_written_is_encrypted_with_the_key(store: S3Store, other: S3Store, s3_server: Any):
    other.put("big", b"b" * 6 * MIB)
    encrypted = same_bucket(store, s3_server, kms_key=KEY, largest_copy=5 * MIB, copy_part=5 * MIB)
    headers = Headers(encrypted)

    etag = encrypted.put("a", b"1")
    encrypted.put_if_match("a", b"2", etag)
    encrypted.put_new("b", b"1")
    encrypted.copy("a", "c")
    encrypted.copy(other.url("big"), "d")
    upload = encrypted.begin_upload("e")
    encrypted.complete_upload(upload, [encrypted.upload_part(upload, 1, b"1")])

    writes = [seen for seen in headers.seen if seen[0] in ("PutObject", "CopyObject", "CreateMultipartUpload")]
    assert [name for name, _ in writes].count("PutObject") == 3
    assert {name for name, _ in writes} == {"PutObject", "CopyObject", "CreateMultipartUpload"}
    assert all(SSE.items() <= sent.items() for _, sent in writes), writes


def test_without_a_key_the_bucket_decides(store: S3Store):
    headers = Headers(store)
    store.put("a", b"1")
    assert headers.of("PutObject") == [{}]


def test_a_requester_pays_for_each_read(store: S3Store, s3_server: Any):
    store.put("p/a", b"1")
    paying = same_bucket(store, s3_server, requester_pays=True)
    headers = Headers(paying)

    assert [o.key for o in paying.list("p/")] == ["p/a"]
    assert paying.get("p/a")[0] == b"".join(paying.read("p/a")) == b"1"
    assert paying.head("p/a")

    assert [sent.get(PAYER) for _, sent in headers.seen] == ["requester"] * 4


@pytest.mark.parametrize("size", [1, 11 * MIB])
def test_an_object_of_another_bucket_is_copied_by_the_server(store: S3Store, other: S3Store, s3_server: Any, size: int):
    other.put("a b/ü", b"x" * size)
    small = same_bucket(store, s3_server, largest_copy=5 * MIB, copy_part=5 * MIB)

    small.copy(other.url("a b/ü"), "copied")

    assert store.get("copied")[0] == b"x" * size
    with pytest.raises(NotFound, match=f"s3://{other.bucket}/nothing does not exist"):
        store.copy(other.url("nothing"), "copied")


def test_a_read_is_of_the_object_that_was_listed_or_of_none(store: S3Store):
    etag = store.put("k", b"before")
    assert b"".join(store.read("k", 1, 3, etag)) == b"ef"
    store.put("k", b"after!")
    with pytest.raises(StoreConflict, match="k"):
        list(store.read("k", 1, 3, etag))
