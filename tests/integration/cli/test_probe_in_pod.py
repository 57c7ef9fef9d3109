"""What a pod of `genai doctor --probe` finds out, run here against a real S3 and real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.cli.probe import in_pod
from genai_pipeline.cli.probe.reach_probe import command
from genai_pipeline.local.ports import free_port


@pytest.fixture
def as_pod(store: Any, s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bucket's store; this process has the environment of a pod."""
    settings = s3_server.settings()
    for name, value in {
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_ACCESS_KEY_ID": settings.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.secret_key,
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return store


def test_a_bucket_may_be_listed_read_and_written_and_keeps_nothing(as_pod: Any):
    assert in_pod.use_bucket(as_pod.bucket, "models/", "") == {"step": "nothing to read"}
    as_pod.put("models/m/1/a", b"weights")

    assert in_pod.use_bucket(as_pod.bucket, "models/", "") == {}
    assert in_pod.use_bucket(as_pod.bucket, "sessions/", "sessions/probe-1") == {}
    assert [one.key for one in as_pod.list("")] == ["models/m/1/a"]


def test_a_missing_bucket_and_wrong_keys_are_told_with_the_code_of_s3(as_pod: Any, monkeypatch: pytest.MonkeyPatch):
    assert in_pod.use_bucket("no-such-bucket", "models/", "")["code"] == "NoSuchBucket"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")

    said = in_pod.use_bucket(as_pod.bucket, "models/", "")

    assert (said["step"], said["code"]) == ("list", "InvalidAccessKeyId")


def test_without_keys_it_says_so(as_pod: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    assert in_pod.use_bucket(as_pod.bucket, "models/", "")["code"] == "NoCredentialsError"


def test_an_address_is_reached_or_fails_at_a_step(s3_server: Any):
    assert in_pod.reach(s3_server.settings().endpoint) == {}
    assert in_pod.reach("http://no-such-host.invalid")["step"] == "name"
    assert in_pod.reach(f"http://127.0.0.1:{free_port()}")["step"] == "connection"
    assert in_pod.reach(s3_server.settings().endpoint.replace("http:", "https:"))["step"] == "answer"


def test_its_text_alone_is_the_command_of_the_pod(as_pod: Any, s3_server: Any, tmp_path: Path):
    url, answer = s3_server.settings().endpoint, tmp_path / "answer"
    bucket = {"url": url, "name": as_pod.bucket, "prefix": "sessions/", "key": "sessions/probe-2"}
    _, flag, text = command()
    text = text.replace(in_pod.ANSWER, str(answer))

    env = os.environ | {"GENAI_PROBE": json.dumps({"urls": [url], "bucket": bucket})}
    subprocess.run([sys.executable, flag, text], env=env, check=True, timeout=60, cwd=tmp_path)

    assert json.loads(answer.read_text()) == {url: {}, "bucket": {}}
