"""S3Store against a real S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from genai_pipeline.core.errors import AccessDenied, NotFound, StoreUnavailable
from genai_pipeline.gateways.store.abc import CHUNK
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from genai_pipeline.local.ports import free_port
from tests.fakes.store_contract import MIB, StoreContract


class TestS3Store(StoreContract):
    """The contract, with `store` from conftest.py."""


def test_a_copy_above_the_single_copy_limit_goes_in_parts(store: S3Store, s3_server: Any):
    body = bytes(range(256)) * 4096 * 11  # 11 MiB
    store.put("k", body)
    small = S3Store(store.bucket, s3_server.settings(largest_copy=5 * MIB, copy_part=5 * MIB))
    assert small.copy("k", "copy").endswith("-3")
    assert store.get("copy")[0] == body


@pytest.mark.parametrize(
    "ask", [lambda s: s.get("a"), lambda s: list(s.list("a/")), lambda s: list(s.list_uploads(""))]
)
def test_a_missing_bucket_is_named_with_what_to_do(s3_server: Any, ask: Any):
    with pytest.raises(NotFound, match=r"the bucket no-such-bucket does not exist at http.*GENAI_BUCKET"):
        ask(s3_server.store("no-such-bucket"))


def test_a_server_that_is_down_is_unavailable_not_a_traceback():
    port = free_port()
    store = S3Store("genai", S3Settings(f"http://127.0.0.1:{port}", access_key="a", secret_key="b"))
    with pytest.raises(StoreUnavailable, match=str(port)):
        store.put("k", b"")


def test_no_credentials_at_all_is_access_denied(s3_server: Any, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AccessDenied, match="IAM role"):
        S3Store("genai", S3Settings(s3_server.endpoint)).get("k")


def test_a_read_whose_connection_breaks_goes_on_where_it_broke(store: S3Store):
    body = bytes(range(256)) * 4096 * 3
    store.put("k", body)
    broken = BreaksOnce(store._stream)
    store._stream = broken  # pyright: ignore[reportAttributeAccessIssue]
    assert b"".join(store.read("k")) == body
    (first, _), (second, _) = broken.asked
    assert first == 0 < second <= CHUNK
    assert broken.asked[1][1] == {"IfMatch": broken.etag}


class BreaksOnce:
    """A stream that ends with a reset after its first chunk, once."""

    def __init__(self, real: Callable[..., Iterator[tuple[bytes, str]]]) -> None:
        self.real = real
        self.asked: list[tuple[int, dict[str, str]]] = []
        self.etag = ""

    def __call__(self, key: str, start: int, end: int | None, condition: dict[str, str]):
        self.asked.append((start, condition))
        for chunk, etag in self.real(key, start, end, condition):
            self.etag = etag
            yield chunk, etag
            if len(self.asked) == 1:
                raise ConnectionResetError("the peer went away")
