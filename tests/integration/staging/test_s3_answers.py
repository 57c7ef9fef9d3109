"""What an S3 refuses, and what stands in the way before it is asked: told in words that say what to do."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.errors import AccessDenied, NotFound, Refused, StoreUnavailable
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from tests.fakes import bad_replies as bad
from tests.fakes.certificates import tls_for_loopback
from tests.fakes.flaky_hub import FlakyHub
from tests.fakes.proxy import Proxy

NOBODY = "http://127.0.0.1:1"
NO_RIGHT = "User: arn:aws:iam::1:user/x is not authorized to perform: s3:ListBucketMultipartUploads"


@pytest.fixture
def behind(store: S3Store, s3_server: Any):
    """(The store behind a proxy, the proxy)."""
    store.put("k", b"content")
    with Proxy(s3_server.endpoint) as proxy:
        yield S3Store(store.bucket, s3_server.settings(proxy.url)), proxy


@pytest.mark.parametrize(
    ("status", "code", "words", "error"),
    [
        (403, "AccessDenied", NO_RIGHT, AccessDenied),
        (403, "QuotaExceeded", "The bucket may hold 10 GB", AccessDenied),
        (507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold", StoreUnavailable),
        (501, "NotImplemented", "A header you provided implies functionality that is not implemented", Refused),
    ],
)
def test_the_servers_own_words_are_reported(behind: Any, status: int, code: str, words: str, error: type[Exception]):
    store, proxy = behind
    proxy.fault = bad.always(bad.s3_error(status, code, words))
    with pytest.raises(error, match=f"{code}: {words}"):
        list(store.list_uploads(""))


def test_a_listing_that_finds_no_such_key_lacks_the_bucket(behind: Any):
    store, proxy = behind
    proxy.fault = bad.always(bad.s3_error(404, "NoSuchKey"))
    with pytest.raises(NotFound, match=f"bucket {store.bucket} does not exist"):
        list(store.list("releases/"))
    with pytest.raises(NotFound, match=f"{store.url('k')} does not exist"):
        store.get("k")


def test_what_a_server_cannot_do_is_asked_once(behind: Any):
    store, proxy = behind
    proxy.fault = bad.always(bad.s3_error(501, "NotImplemented", "A header implies functionality"))
    with pytest.raises(Refused, match="conditional writes"):
        store.put_new("k", b"1")
    store.abilities.crc64 = False
    with pytest.raises(Refused, match=f"cannot write {store.url('k')}"):
        store.put_file("k", b"1")
    assert store.requests()["PutObject"] == 2


def test_a_new_bucket_in_another_region_is_named_with_its_region(behind: Any):
    store, proxy = behind
    headers = {"x-amz-bucket-region": "eu-west-1"}
    proxy.fault = bad.always(bad.s3_error(307, "TemporaryRedirect", "", headers), bad.asks("PUT"))
    with pytest.raises(Refused, match="Set AWS_REGION=eu-west-1"):
        store.put_file("k", b"1")


def test_a_read_is_judged_by_its_sha256_and_not_by_a_wrong_checksum_beside_it(
    behind: Any, monkeypatch: pytest.MonkeyPatch
):
    store, proxy = behind
    wrong = base64.b64encode(bytes(4)).decode()
    proxy.fault = bad.always(bad.with_header("x-amz-checksum-crc32", wrong), bad.asks("GET"))
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")
    for each in (store, S3Store(store.bucket, store.settings)):
        assert b"".join(each.read("k")) == b"content"
    with pytest.raises(StoreUnavailable, match="checksum"):
        each.get("k")


def test_a_read_goes_on_where_the_connection_ended(behind: Any):
    store, proxy = behind
    body = os.urandom(300_000)
    store.put("long", body)
    proxy.fault = bad.once(bad.truncated, bad.asks("GET"))
    assert b"".join(store.read("long")) == body

    proxy.fault = bad.always(bad.truncated, bad.asks("GET"))
    with pytest.raises(StoreUnavailable, match="did not read"):
        list(store.read("long"))


@pytest.fixture
def impatient(behind: Any, s3_server: Any) -> S3Store:
    """The store behind the proxy, to which every answer to a read is too slow."""
    store, proxy = behind
    return S3Store(store.bucket, s3_server.settings(proxy.url, read_grace_s=0.0, slowest_bytes_per_s=1e15))


@pytest.mark.parametrize("asked", [lambda s: list(s.read("k")), lambda s: s.get("k"), lambda s: list(s.list(""))])
def test_an_answer_that_drips_is_tried_again_and_then_given_up(impatient: S3Store, asked: Any):
    with pytest.raises(StoreUnavailable, match=r"s3://.*no more than \d+ bytes in \d+ s"):
        asked(impatient)


def test_one_answer_that_drips_does_no_harm(behind: Any, s3_server: Any):
    store, proxy = behind
    store = S3Store(store.bucket, s3_server.settings(proxy.url, read_grace_s=1.0, slowest_bytes_per_s=1e15))
    proxy.fault = bad.once(bad.dripping(pieces=7, pause_s=0.3), bad.asks("GET"))
    assert b"".join(store.read("k")) == b"content"
    assert len(proxy.exchanges) == 2


def test_the_blanks_that_s3_sends_while_it_completes_an_upload_are_waited_for(impatient: S3Store):
    upload = impatient.begin_upload("k")
    assert impatient.complete_upload(upload, [impatient.upload_part(upload, 1, b"1")])


@pytest.mark.parametrize("asked", [lambda s: s.exists(), lambda s: s.put_file("k", b"1")], ids=["boto3", "sender"])
def test_a_certificate_of_ones_own_comes_with_where_to_put_it(tmp_path: Path, asked: Any):
    with FlakyHub(tls=tls_for_loopback(tmp_path)[0]) as server, pytest.raises(StoreUnavailable, match="AWS_CA_BUNDLE"):
        asked(S3Store("genai", S3Settings(server.url, access_key="a", secret_key="b", sleep=lambda _: None)))


def _expired(home: Path) -> str:
    program = home / "credentials"
    lapsed = '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "2020-01-01T00:00:00Z"}'
    program.write_text(f"#!/bin/sh\necho '{lapsed}'\n")
    program.chmod(stat.S_IRWXU)
    return f"credential_process = {program}"


ROLE = "role_arn = arn:aws:iam::123456789012:role/x\n"
SSO = "sso_account_id = 1\nsso_role_name = x\nsso_region = us-east-1\nsso_start_url = https://x.awsapps.com/start"


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        (_expired, r"still expired\. Get new ones"),
        (lambda _: SSO, "SSO Token.*aws sso login"),
        (lambda _: "login_session = arn:aws:iam::1:user/x", "reauthenticate with 'aws login'"),
        (lambda _: f"{ROLE}web_identity_token_file = /nonexistent/token", "/nonexistent/token'"),
        (lambda _: f"{ROLE}source_profile = gone", "source_profile"),
        (lambda _: "no setting at all", "Unable to parse config file"),
    ],
    ids=["expired process", "sso", "login", "web identity", "no such source", "no config"],
)
@pytest.mark.parametrize("asked", [lambda s: s.exists(), lambda s: s.put_file("k", b"1")], ids=["boto3", "sender"])
def test_credentials_that_cannot_be_had_are_not_taken_for_a_store_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: Any, says: str, asked: Any
):
    (tmp_path / "config").write_text(f"[profile p]\nregion = us-east-1\n{profile(tmp_path)}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("HOME", str(tmp_path)), ("AWS_CONFIG_FILE", str(tmp_path / "config")), ("AWS_PROFILE", "p")):
        monkeypatch.setenv(name, value)

    with pytest.raises(AccessDenied, match=rf"(?s)^There are no credentials to .*{says}"):
        asked(S3Store("genai", S3Settings(NOBODY)))
