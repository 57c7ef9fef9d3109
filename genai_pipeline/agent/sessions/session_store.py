"""The places where sessions are stored: a folder, or a bucket. Each session is one object, `sessions/<id>.json`.

Every write names the version that it replaces, so that two replicas never overwrite each other's work. All methods
block: call them from worker threads. Standard library only at import, because the settings use `parse_place`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genai_pipeline.agent.sessions.session_errors import Conflict

MEMORY, FILE, S3 = "memory", "file", "s3"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/-]{0,512}")
_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "412", "409")
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
CONNECTIONS = 64
"""One for each worker thread (shared.py)."""


class SessionStore(ABC):
    """Bytes by session id; each version has a tag.

    Every other error of a store means that the store cannot be reached.
    """

    @abstractmethod
    def read(self, session_id: str) -> tuple[bytes, str] | None:
        """Return body and tag, or None if the session does not exist."""

    @abstractmethod
    def write(self, session_id: str, body: bytes, tag: str | None) -> str:
        """Replace the version `tag`, or create the object if `tag` is None; return the new tag. Raises: Conflict."""

    @abstractmethod
    def remove(self, session_id: str, tag: str) -> None:
        """Remove the version `tag`. Raises: Conflict."""

    @abstractmethod
    def unwritten_since(self, time: float) -> Iterator[str]:
        """Yield the ids of objects that were last written before this Unix time."""


class FolderSessionStore(SessionStore):
    """A folder that several processes may share. One lock file serialises all changes; each takes one rename."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "sessions"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self, session_id: str) -> tuple[bytes, str] | None:
        try:
            body = self._path(session_id).read_bytes()
        except FileNotFoundError:
            return None
        return body, hashlib.sha256(body).hexdigest()

    def write(self, session_id: str, body: bytes, tag: str | None) -> str:
        new = self._folder / ".new"  # one name is enough under the lock, and a kill leaves at most this one file
        with self._locked(session_id, tag):
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path(session_id))
        return hashlib.sha256(body).hexdigest()

    def remove(self, session_id: str, tag: str) -> None:
        with self._locked(session_id, tag):
            self._path(session_id).unlink()

    def unwritten_since(self, time: float) -> Iterator[str]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and entry.stat().st_mtime < time:
                    yield entry.name.removesuffix(".json")

    @contextmanager
    def _locked(self, session_id: str, tag: str | None) -> Iterator[None]:
        with (self._folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self.read(session_id)
            if (found[1] if found else None) != tag:
                raise Conflict(session_id)
            yield

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{session_id}.json"


class BucketSessionStore(SessionStore):
    """A bucket with conditional writes (`If-Match`, `If-None-Match`), as S3 has them."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._s3, self._bucket = client, bucket
        self._prefix = f"{prefix}/sessions/" if prefix else "sessions/"

    def read(self, session_id: str) -> tuple[bytes, str] | None:
        from botocore.exceptions import ClientError

        try:
            found = self._s3.get_object(Bucket=self._bucket, Key=self._key(session_id))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        return found["Body"].read(), found["ETag"]

    def write(self, session_id: str, body: bytes, tag: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        about: dict[str, Any] = {"Bucket": self._bucket, "Key": self._key(session_id)}
        with _conflicts(session_id):
            return self._s3.put_object(**about, Body=body, ContentType="application/json", **condition)["ETag"]

    def remove(self, session_id: str, tag: str) -> None:
        with _conflicts(session_id):
            self._s3.delete_object(Bucket=self._bucket, Key=self._key(session_id), IfMatch=tag)

    def unwritten_since(self, time: float) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                if entry["LastModified"].timestamp() < time:
                    yield entry["Key"].removeprefix(self._prefix).removesuffix(".json")

    def _key(self, session_id: str) -> str:
        return f"{self._prefix}{session_id}.json"


@contextmanager
def _conflicts(session_id: str) -> Iterator[None]:
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in _CONFLICTS:
            raise Conflict(session_id) from error
        raise


def parse_place(text: str) -> tuple[str, str]:
    """Split the setting AGENT_SESSIONS into kind and place, for example ("s3", "bucket/prefix").

    Raises: ValueError: says what is allowed.
    """
    if text == MEMORY:
        return MEMORY, ""
    if text.startswith("file:") and (folder := text.removeprefix("file:").removeprefix("//")):
        return FILE, folder
    if text.startswith("s3://"):
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        if _BUCKET.fullmatch(bucket) and _PREFIX.fullmatch(prefix):
            return S3, f"{bucket}/{prefix}"
    raise ValueError("must be memory, file:<folder> or s3://<bucket>/<prefix>.")


def open_store(place: str) -> SessionStore | None:
    """Open the store that AGENT_SESSIONS names, or None for `memory`. Raises: OSError: the folder is not writable."""
    kind, where = parse_place(place)
    if kind == MEMORY:
        return None
    if kind == FILE:
        return FolderSessionStore(Path(where))
    bucket, _, prefix = where.partition("/")
    return BucketSessionStore(_s3_client(), bucket, prefix.strip("/"))


def _s3_client() -> Any:
    """Return one client for all threads. boto3 finds address and credentials. It gives up within seconds."""
    from boto3.session import Session
    from botocore.config import Config
    from botocore.session import get_session

    address = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    core = get_session()
    config = Config(
        s3={"addressing_style": "path" if address else "auto"},  # another S3 seldom has a host name for each bucket
        connect_timeout=2,
        read_timeout=4,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=CONNECTIONS,
        **_checksum_settings(core.get_scoped_config(), address),
    )
    return Session(botocore_session=core).client("s3", config=config)


def _checksum_settings(chosen: Mapping[str, Any], address: str | None) -> dict[str, str]:
    """Return parameters that keep boto3 from adding checksums, which other servers than Amazon's may refuse.

    Source: AWS SDKs and Tools Reference Guide, "Data Integrity Protections for Amazon S3". What users set stays.
    """
    if address is None or (urlsplit(address).hostname or "").endswith(_AMAZON):
        return {}
    names = ("request_checksum_calculation", "response_checksum_validation")
    return {n: "when_required" for n in names if n not in chosen and f"AWS_{n.upper()}" not in os.environ}
