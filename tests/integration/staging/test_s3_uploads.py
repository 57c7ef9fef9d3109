"""What S3 itself is told of a body, and what becomes of one that is damaged, refused or too much on its way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import boto3
import pytest
from botocore.config import Config

from genai_pipeline.core.errors import AccessDenied, NotFound, StoreConflict, StoreUnavailable
from genai_pipeline.gateways.store.checksums import crc64nvme
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from tests.fakes import bad_replies as bad
from tests.fakes.exchange import no_fault
from tests.fakes.proxy import Proxy
from tests.integration.conftest import S3Server

MIB = 1024 * 1024
PARTS = (bytes(range(256)) * 4096 * 5, b"end")


@pytest.fixture
def server(s3_server: S3Server) -> Any:
    return boto3.client(
        "s3", endpoint_url=s3_server.endpoint, region_name="us-east-1", config=Config(s3={"addressing_style": "path"}),
        aws_access_key_id=s3_server.access_key, aws_secret_access_key=s3_server.secret_key,
    )  # fmt: skip


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with Proxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: Proxy, store: S3Store, s3_server: S3Server) -> S3Store:
    """The same bucket, through the proxy."""
    return S3Store(store.bucket, s3_server.settings(proxy.url, sleep=lambda _: None))


def uploaded(store: S3Store, key: str = "k") -> str:
    upload = store.begin_upload(key)
    return store.complete_upload(upload, [store.upload_part(upload, n, body) for n, body in enumerate(PARTS, 1)])


def test_s3_keeps_our_checksum_of_the_whole_object(store: S3Store, server: Any):
    uploaded(store)
    store.put_file("small", memoryview(b"{}"))
    for key, body in (("k", b"".join(PARTS)), ("small", b"{}")):
        found = server.head_object(Bucket=store.bucket, Key=key, ChecksumMode="ENABLED")
        assert found["ChecksumCRC64NVME"] == crc64nvme(body)
        assert store.get(key)[0] == body


def test_keys_of_every_kind_of_letter_are_signed_rightly(store: S3Store):
    for key in ("a b/ü+~'(1)*.json", "models/tiny/%41/=&?.safetensors", "日本/file"):
        store.put_file(key, key.encode())
        assert store.get(key)[0] == key.encode()


def test_a_body_that_is_damaged_on_its_way_is_sent_again(behind: S3Store, store: S3Store, proxy: Proxy):
    real = behind._client.sender._connections.request  # pyright: ignore[reportPrivateUsage]
    bodies: list[bytes] = []

    def damage_the_first(method: str, url: str, headers: Any, body: Any = None, stream: bool = False):
        bodies.append(bytes(body))
        return real(method, url, headers, b"x" + bytes(body)[1:] if len(bodies) == 1 else body, stream)

    behind._client.sender._connections.request = damage_the_first  # type: ignore[method-assign]

    behind.put_file("k", b"right")

    assert len(bodies) == 2
    assert store.get("k")[0] == b"right"
    assert [e.status for e in proxy.exchanges if e.method == "PUT"] == [400, 200]


def test_a_server_that_asks_for_less_gets_less(behind: S3Store, proxy: Proxy):
    behind.put_file("first", b"")
    sender = behind._client.sender  # pyright: ignore[reportPrivateUsage]
    before = sender._pace.limit  # pyright: ignore[reportPrivateUsage]
    proxy.fault = bad.once(bad.s3_error(503, "SlowDown"))
    behind.put_file("k", b"1")
    assert sender._pace.limit <= before // 2 + 1  # pyright: ignore[reportPrivateUsage]


def test_a_server_that_stays_busy_is_given_up_by_name(behind: S3Store, proxy: Proxy):
    proxy.fault = lambda exchange: bad.s3_error(503, "SlowDown") if exchange.method == "PUT" else None
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        behind.put_file("k", b"1")


def test_a_server_that_knows_no_crc64_is_given_an_md5(behind: S3Store, store: S3Store, proxy: Proxy):
    def refuse(exchange: Any) -> Any:
        asked = exchange.head.get("x-amz-checksum-algorithm")
        return bad.s3_error(400, "InvalidRequest") if asked == "CRC64NVME" else None

    proxy.fault = refuse
    uploaded(behind)
    assert store.get("k")[0] == b"".join(PARTS)
    parts = [e.head for e in proxy.exchanges if e.part]
    assert all(head.get("Content-MD5") and not head.get("x-amz-checksum-crc64nvme") for head in parts)


@pytest.mark.parametrize(("status", "code"), [(400, "InvalidArgument"), (501, "NotImplemented")])
def test_a_server_that_takes_no_crc64_with_a_small_file_is_given_an_md5(
    behind: S3Store, store: S3Store, proxy: Proxy, status: int, code: str
):
    proxy.fault = lambda e: bad.s3_error(status, code) if e.head.get("x-amz-checksum-crc64nvme") else None

    assert [behind.put_file(key, b"1") for key in ("k", "l")]

    assert store.get("k")[0] == store.get("l")[0] == b"1"
    assert behind.requests()["PutObject"] == 3


def test_a_bucket_with_a_default_retention_gets_the_algorithm(behind: S3Store, proxy: Proxy):
    behind.put_file("k", b"1")
    (sent,) = [e.head for e in proxy.exchanges if e.method == "PUT"]
    assert sent.get("x-amz-sdk-checksum-algorithm") == "CRC64NVME"


def test_parts_of_someone_else_are_not_completed_as_ours(store: S3Store):
    upload = store.begin_upload("k")
    ours = [store.upload_part(upload, n, body) for n, body in enumerate(PARTS, 1)]
    store.upload_part(upload, 1, b"x" * 5 * MIB)
    with suppress(StoreConflict):  # S3 refuses; SeaweedFS has the part of this ETag still, and takes that one
        store.complete_upload(upload, ours)
    assert store.head("k") is None or store.get("k")[0] == b"".join(PARTS)


def test_the_address_of_a_bucket_is_its_regions():
    for region, host in (("eu-central-1", "s3.eu-central-1.amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")):
        store = S3Store("some-bucket", S3Settings(None, region, "a", "b"))
        address = store._client.sender._bucket_url  # pyright: ignore[reportPrivateUsage]
        assert address.startswith("https://some-bucket.s3.")
        assert address.endswith(f"{host}/")


def test_a_part_for_an_upload_that_is_gone_is_not_found(store: S3Store):
    upload = store.begin_upload("k")
    store.abort_upload(upload)
    with pytest.raises(NotFound, match="k"):
        store.upload_part(upload, 1, b"1")


def test_wrong_keys_are_refused_without_being_shown(s3_server: S3Server, store: S3Store):
    wrong = S3Store(store.bucket, s3_server.settings(access_key="wrong", secret_key="topsecret"))
    with pytest.raises(AccessDenied) as caught:
        wrong.put_file("k", b"1")
    assert "topsecret" not in str(caught.value)


def test_requests_are_counted_by_operation_tries_included(behind: S3Store, proxy: Proxy):
    proxy.fault = no_fault
    uploaded(behind)
    proxy.fault = bad.once(bad.s3_error(500, "InternalError"))
    behind.put_file("small", b"1")
    counted = behind.requests()
    assert counted["CreateMultipartUpload"] == counted["CompleteMultipartUpload"] == 1
    assert (counted["UploadPart"], counted["PutObject"]) == (2, 2)


def test_many_threads_share_one_store(store: S3Store):
    failed: list[Exception] = []

    def put(number: int) -> None:
        try:
            store.put_file(f"k/{number}", str(number).encode())
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=put, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert len(list(store.list("k/"))) == 40
