"""A hub with a model, an S3 with a bucket, a proxy in front of each, and what must hold of them after a fault."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from genai_pipeline.core.manifest import MANIFEST_NAME, Manifest, manifest_key, staged_prefix
from genai_pipeline.gateways.hub.file_reader import ReadLimits
from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from genai_pipeline.local.hub.hub_server import HubServer
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.sweep import sweep
from tests.fakes.exchange import Exchange, no_fault
from tests.fakes.proxy import Proxy

MODEL = "tiny"
REPOSITORY = "owner/tiny"
TOKEN = "hf_a_token_that_nobody_may_see"
PART = 5 * 1024 * 1024
"""The smallest that S3 takes."""
TWO_DAYS_S = 2 * 24 * 3600.0


@dataclass(frozen=True)
class Addresses:
    """What a stager, here or in another process, needs to know."""

    hub: str
    s3: str
    bucket: str
    access_key: str
    secret_key: str
    revision: str
    token: str | None = TOKEN
    part_size: int = PART
    sleep: Callable[[float], None] = time.sleep
    """Waits between two tries, on both sides."""

    @cache  # noqa: B019 (boto3 takes longer to make a client than a stager to use it)
    def store(self) -> S3Store:
        """Copies in parts what is larger than a part, so that both kinds of copy happen."""
        keys = {"access_key": self.access_key, "secret_key": self.secret_key}
        return S3Store(self.bucket, S3Settings(self.s3, **keys, largest_copy=PART, copy_part=PART, sleep=self.sleep))

    def hub_gateway(self, limits: ReadLimits | None = None) -> HuggingFaceHub:
        return HuggingFaceHub(self.hub, self.token, self.sleep, limits)

    def stage(self, model: str = MODEL, limits: ReadLimits | None = None, **options: Any) -> Manifest:
        hub = self.hub_gateway(limits)
        snapshot = hub.snapshot(REPOSITORY, self.revision)
        return Stager(hub, self.store(), part_size=self.part_size).stage(model, snapshot, **options)


@dataclass(frozen=True)
class Sent:
    """What of the staged model a server has acknowledged, or was sent: whole files, and parts of files."""

    files: frozenset[str]
    parts: frozenset[tuple[str, int]]


class World:
    """One model of one hub in one bucket. Use as a context manager.

    Args:
        content: the files of `revision`, which is what is staged.
        kept: keys of the bucket that `reset` leaves alone.
    """

    def __init__(self, hub: HubServer, s3: Any, bucket: str, revision: str, content: dict[str, bytes]) -> None:
        self._s3, self.bucket, self.revision, self.content = s3, bucket, revision, content
        self.hub = Proxy(hub.url)
        self.s3 = Proxy(s3.endpoint)
        self.prefix = staged_prefix(MODEL, revision)
        self.kept: frozenset[str] = frozenset()
        self.copied = ""
        """The key whose bytes are in the bucket already. A copy that was begun is begun anew, and swept."""
        self.sleep: Callable[[float], None] = time.sleep
        self.server = boto3.client(
            "s3",
            endpoint_url=s3.endpoint,
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )
        """The server itself, past the proxy and past the product."""
        self._running = ExitStack()

    def __enter__(self) -> World:
        self._running.enter_context(self.hub)
        self._running.enter_context(self.s3)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def addresses(self) -> Addresses:
        s3 = self._s3
        return Addresses(
            self.hub.url, self.s3.url, self.bucket, s3.access_key, s3.secret_key, self.revision, sleep=self.sleep
        )

    def reset(self) -> None:
        """Forget what was staged, and what passed the proxies; no faults from here on."""
        self.hub.fault = self.s3.fault = no_fault
        self.sleep = time.sleep
        self.quiet()
        if any(exchange.faulty for exchange in self.s3.exchanges):
            Addresses.store.cache_clear()  # a client of boto3 has a quota of retries
        for upload in self.uploads():
            self.server.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        for key in self.stored() - self.kept:
            self.server.delete_object(Bucket=self.bucket, Key=key)
        self.forget()

    def forget(self) -> None:
        """Count from here on."""
        self.hub.exchanges.clear()
        self.s3.exchanges.clear()

    def quiet(self, deadline_s: float = 30) -> None:
        """Wait until nothing is under way through the proxies."""
        end = time.monotonic() + deadline_s
        while busy := [e for e in [*self.hub.exchanges, *self.s3.exchanges] if not e.over]:
            assert time.monotonic() < end, f"still under way: {[(e.method, e.path) for e in busy]}"
            time.sleep(0.005)

    # ---- what the server has

    def stored(self) -> set[str]:
        pages = self.server.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {found["Key"] for page in pages for found in page.get("Contents", ())}

    def uploads(self) -> list[dict[str, Any]]:
        pages = self.server.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket)
        return [upload for page in pages for upload in page.get("Uploads", ())]

    def body(self, path: str) -> bytes:
        return self.server.get_object(Bucket=self.bucket, Key=self.prefix + path)["Body"].read()

    def manifest(self) -> Manifest | None:
        key = manifest_key(MODEL, self.revision)
        if key not in self.stored():
            return None
        return Manifest.from_bytes(self.server.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    # ---- what must hold

    def assert_nothing_or_right(self) -> None:
        """There is no manifest, or it and all it names are right."""
        if self.manifest():
            self.assert_right()

    def assert_right(self) -> None:
        """The manifest names exactly the hub's files with their digests, and the bytes are the hub's."""
        manifest = self.manifest()
        assert manifest, "there is no manifest"
        assert (manifest.model, manifest.revision, manifest.source) == (MODEL, self.revision, REPOSITORY)
        named = {f.path: (f.size, f.sha256) for f in manifest.files}
        assert named == {path: (len(b), hashlib.sha256(b).hexdigest()) for path, b in self.content.items()}
        wrong = [path for path, body in self.content.items() if self.body(path) != body]
        assert not wrong, f"not the hub's bytes: {wrong}"

    def assert_swept(self) -> None:
        """Two days later the sweep leaves the staged model, and nothing else of ours."""
        sweep(self.addresses.store(), time.time() + TWO_DAYS_S)
        assert self.uploads() == []
        staged = {self.prefix + path for path in [*self.content, MANIFEST_NAME]}
        assert self.stored() - self.kept in (staged, set())

    # ---- what passed the proxy

    def acknowledged(self) -> Sent:
        """What the server has answered with 200 so far."""
        return self._sent(lambda exchange: exchange.status == 200)

    def sent(self) -> Sent:
        """What the server was sent so far, whatever it answered."""
        return self._sent(lambda exchange: exchange.sent > 0)

    def _sent(self, counts: Callable[[Exchange], bool]) -> Sent:
        puts = [(self._path(e), e) for e in self.s3.exchanges if e.method == "PUT" and counts(e)]
        done = [self._path(e) for e in self.s3.exchanges if _completes(e) and e.status == 200]
        files = {path for path, e in puts if e.part is None} | set(done)
        parts = {(path, e.part) for path, e in puts if e.part is not None}
        return Sent(
            frozenset(f for f in files if f in self.content), frozenset((p, n) for p, n in parts if p in self.content)
        )

    def _path(self, exchange: Exchange) -> str:
        return exchange.path.removeprefix(f"/{self.bucket}/").removeprefix(self.prefix)


def _completes(exchange: Exchange) -> bool:
    return exchange.method == "POST" and "uploadId" in exchange.query
