"""S3s that refuse what Amazon's takes: a real S3 behind a proxy that answers as they do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from genai_pipeline.agent.sessions.session_store import open_store
from genai_pipeline.core.errors import Refused
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from genai_pipeline.staging.bucket_probe import lacks, require_conditional_writes, require_uploads
from genai_pipeline.staging.prune_decision import References
from genai_pipeline.staging.pruner import Pruner
from genai_pipeline.staging.stager import Stager
from tests.fakes import other_s3s as other
from tests.fakes.exchange import Exchange
from tests.fakes.proxy import Proxy
from tests.fakes.weights import safetensors
from tests.fakes.world import FakeHub
from tests.integration.conftest import S3Server

PART = 5 * 1024 * 1024
FILES = {"model.safetensors": safetensors(os.urandom(2 * PART + 1000)), "config.json": b"{}", "empty.txt": b""}
ADDS = "AWS_REQUEST_CHECKSUM_CALCULATION"
ASKS = "AWS_RESPONSE_CHECKSUM_VALIDATION"

OTHERS: dict[str, Callable[[], Any]] = {
    "Backblaze B2": lambda: other.backblaze,
    "one that refuses checksums with bodies only": lambda: other.refuses_with_bodies,
    "one that compares parts with their upload": other.StrictAboutParts,
    "Cloudflare R2 in 2025": lambda: other.r2,
    "Ceph": lambda: other.ceph,
    "older Ceph": lambda: other.old_ceph,
    "MinIO before 2025": lambda: other.minio,
    "Google": lambda: other.google,
    "Google with an error of its own": lambda: other.google_now,
    "everything at once": lambda: other.of_all(other.google, other.no_copies, other.StrictAboutParts()),
}


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with Proxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def behind(proxy: Proxy, store: S3Store, s3_server: S3Server, waits: list[float]) -> S3Store:
    """The same bucket, through the proxy. `waits` gets the waits between two tries to send a body."""
    return S3Store(store.bucket, s3_server.settings(proxy.url, sleep=waits.append))


@pytest.fixture
def hub() -> FakeHub:
    hub = FakeHub()
    hub.revision = hub.publish("main", files=FILES)  # pyright: ignore[reportAttributeAccessIssue]
    return hub


def stage(hub: Any, store: S3Store, model: str = "tiny") -> None:
    Stager(hub, store, part_size=PART).stage(model, hub.snapshot("owner/tiny", hub.revision))


def refused_bytes(proxy: Proxy) -> int:
    return sum(e.head.length or 0 for e in proxy.exchanges if e.faulty)


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_is_staged_and_pruned_there_without_a_large_part_that_is_sent_twice(
    hub: Any, behind: S3Store, store: S3Store, proxy: Proxy, waits: list[float], name: str
):
    proxy.fault = OTHERS[name]()

    stage(hub, behind)

    prefix = staged_prefix("tiny", hub.revision)
    for path, body in FILES.items():
        assert hashlib.sha256(store.get(prefix + path)[0]).digest() == hashlib.sha256(body).digest()
    assert waits == [], "a try was used up"
    assert refused_bytes(proxy) < 1000
    assert list(store.list("leases/")) == list(store.list_uploads("")) == []

    pruner = Pruner(behind, lambda models: References(), 0)
    assert [pruned.deleted for pruned in pruner.carry_out(pruner.plan())] == [True]
    assert list(store.list("")) == []


def test_what_was_refused_once_is_not_asked_for_again(hub: Any, behind: S3Store, proxy: Proxy):
    proxy.fault = other.of_all(other.StrictAboutParts(), other.google)
    stage(hub, behind)
    behind.delete_all(["a", "b"])
    proxy.exchanges.clear()

    stage(hub, behind, "again")
    behind.delete_all(["a", "b"])

    assert [(e.method, e.target) for e in proxy.exchanges if e.faulty] == []


def test_a_refusal_that_is_about_something_else_does_not_end_the_checksums(behind: S3Store, proxy: Proxy):
    proxy.fault = lambda e: other.bad.s3_error(400, "InvalidRequest", "no") if e.path.endswith("wrong") else None
    with pytest.raises(Refused):
        behind.put_file("wrong", b"1")

    behind.put_file("right", b"1")

    assert behind.abilities.crc64
    assert proxy.exchanges[-1].head.get("x-amz-checksum-crc64nvme")


def test_a_store_that_takes_no_bodies_with_any_checksum_ends_the_staging_before_a_byte_moves(
    hub: Any, behind: S3Store, proxy: Proxy
):
    proxy.fault = other.no_checksum_at_all
    with pytest.raises(Refused, match=f"{ADDS}=when_required"):
        stage(hub, behind)
    assert _moved(proxy) == 0


def test_a_store_without_uploads_ends_the_staging_before_a_byte_moves(hub: Any, behind: S3Store, proxy: Proxy):
    proxy.fault = other.no_uploads
    with pytest.raises(Refused, match="multipart uploads"):
        stage(hub, behind)
    assert _moved(proxy) == 0


def _moved(proxy: Proxy) -> int:
    return sum(e.head.length or 0 for e in proxy.exchanges if "models/" in e.path and e.method == "PUT")


def test_a_store_like_amazons_lacks_nothing(behind: S3Store, store: S3Store):
    require_conditional_writes(behind)
    require_uploads(behind)
    assert list(lacks(behind)) == []
    assert list(store.list("")) == list(store.list_uploads("")) == []


def test_what_a_store_lacks_is_said_with_what_follows(behind: S3Store, store: S3Store, proxy: Proxy):
    proxy.fault = other.of_all(other.backblaze, other.no_copies, other.google)
    require_uploads(behind)
    copies, crc64, deletes = lacks(behind)
    assert "sent again" in copies
    assert "MD5" in crc64
    assert "one object" in deletes
    assert list(store.list("")) == []


def test_a_store_without_conditions_is_refused(behind: S3Store, proxy: Proxy):
    proxy.fault = other.no_conditions
    with pytest.raises(Refused, match="If-None-Match"):
        require_conditional_writes(behind)


# ---- what boto3 adds by itself


def test_the_user_decides_which_checksums_are_sent(
    behind: S3Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
):
    def sent(store: S3Store) -> list[list[str]]:
        proxy.exchanges.clear()
        store.put("k", b"1")
        store.put_file("k", b"1")
        store.get("k")
        store.delete_all(["k"])
        return [_about_checksums(e) for e in proxy.exchanges]

    def fresh() -> S3Store:
        return S3Store(behind.bucket, behind.settings)

    crc32, crc64, mode = "x-amz-checksum-crc32", "x-amz-checksum-crc64nvme", "x-amz-checksum-mode"
    assert sent(behind) == [[], [crc64], [], ["content-md5"]]

    monkeypatch.setenv(ADDS, "WHEN_REQUIRED")
    assert sent(fresh()) == [[], ["content-md5"], [], ["content-md5"]]

    monkeypatch.setenv(ADDS, "when_supported")
    monkeypatch.setenv(ASKS, "when_supported")
    assert sent(fresh()) == [[crc32], [crc64], [mode], [crc32]]

    monkeypatch.delenv(ADDS)
    monkeypatch.delenv(ASKS)
    (tmp_path / "config").write_text("[default]\nrequest_checksum_calculation = when_supported\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert sent(fresh()) == [[crc32], [crc64], [], [crc32]]


def _about_checksums(exchange: Exchange) -> list[str]:
    names = sorted(name.lower() for name, _ in exchange.head.headers)
    algorithm = "x-amz-sdk-checksum-algorithm"
    return [n for n in names if n == "content-md5" or (n.startswith(other.CHECKSUMS) and n != algorithm)]


@pytest.mark.parametrize(
    ("endpoint", "adds"),
    [
        (None, "when_supported"),
        ("https://bucket.vpce-1-2.s3.eu-central-1.vpce.amazonaws.com", "when_supported"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "when_supported"),
        ("https://s3.eu-central-003.backblazeb2.com", "when_required"),
        ("https://amazonaws.com.example.org", "when_required"),
    ],
)
def test_only_amazons_own_addresses_get_what_boto3_adds(endpoint: str | None, adds: str):
    config = S3Store("genai", S3Settings(endpoint, "eu-central-1", "a", "b"))._client.boto3.meta.config
    assert (config.request_checksum_calculation, config.response_checksum_validation) == (adds, adds)


def test_a_wrong_setting_of_checksums_is_refused_by_its_name(behind: S3Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ADDS, "sometimes")
    with pytest.raises(Refused, match="request_checksum_calculation"):
        behind.put("k", b"1")


def test_a_refusal_of_a_checksum_that_the_user_wants_names_the_setting(
    behind: S3Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(ADDS, "when_supported")
    proxy.fault = other.backblaze
    with pytest.raises(Refused, match=f"{ADDS}=when_required"):
        behind.put("k", b"1")


def test_sessions_of_agents_are_kept_and_removed_there(
    proxy: Proxy, store: S3Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {**s3_server.env, "AWS_ENDPOINT_URL": proxy.url}.items():
        monkeypatch.setenv(name, value)
    proxy.fault = other.backblaze
    sessions = open_store(f"s3://{store.bucket}/agents")
    assert sessions is not None

    tag = sessions.write("one", b"1", None)
    assert sessions.read("one") == (b"1", tag)
    sessions.remove("one", tag)

    assert sessions.read("one") is None
