"""Where the records of sessions are: a conditional write is what keeps two replicas apart.

`heads/<id>.json` below the store's folder or prefix. Blocking: call it from worker threads.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genai_pipeline.agent.sessions.errors import Conflict

_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "412", "409")


class Heads(ABC):
    """Bytes by session id, each version with a tag. What else a store raises means that it is out of reach."""

    @abstractmethod
    def read(self, session_id: str) -> tuple[bytes, str] | None:
        """Body and tag; None if there is none."""

    @abstractmethod
    def unused_since(self, time: float) -> Iterator[str]:
        """Ids of records that nobody has written since then."""

    @abstractmethod
    def write(self, session_id: str, body: bytes, tag: str | None) -> str:
        """Replace the version `tag`, or create with None; the new tag. Raises: Conflict."""

    @abstractmethod
    def remove(self, session_id: str, tag: str) -> None:
        """Raises: Conflict."""


class FileHeads(Heads):
    """In one folder, which several processes may share: each change is made under a lock of the file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "heads"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self, session_id: str) -> tuple[bytes, str] | None:
        try:
            body = self._path(session_id).read_bytes()
        except FileNotFoundError:
            return None
        return body, hashlib.sha256(body).hexdigest()

    def unused_since(self, time: float) -> Iterator[str]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and entry.stat().st_mtime < time:
                    yield entry.name.removesuffix(".json")

    def write(self, session_id: str, body: bytes, tag: str | None) -> str:
        with self._locked(session_id, tag):
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path(session_id))
        return hashlib.sha256(body).hexdigest()

    def remove(self, session_id: str, tag: str) -> None:
        with self._locked(session_id, tag):
            self._path(session_id).unlink()

    @contextmanager
    def _locked(self, session_id: str, tag: str | None) -> Iterator[None]:
        """One lock for all sessions: it is held for the time of a rename."""
        with (self._folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self.read(session_id)
            if (found and found[1]) != tag:
                raise Conflict(session_id)
            yield

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{session_id}.json"


class S3Heads(Heads):
    """In a bucket, by If-Match and If-None-Match."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._s3, self._bucket = client, bucket
        self._prefix = f"{prefix}/heads/" if prefix else "heads/"

    def read(self, session_id: str) -> tuple[bytes, str] | None:
        from botocore.exceptions import ClientError

        try:
            found = self._s3.get_object(Bucket=self._bucket, Key=self._key(session_id))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        return found["Body"].read(), found["ETag"]

    def unused_since(self, time: float) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                if entry["LastModified"].timestamp() < time:
                    yield entry["Key"].removeprefix(self._prefix).removesuffix(".json")

    def write(self, session_id: str, body: bytes, tag: str | None) -> str:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with _conflicts(session_id):
            put = self._s3.put_object(
                Bucket=self._bucket,
                Key=self._key(session_id),
                Body=body,
                ContentType="application/json",
                **condition,
            )
        return put["ETag"]

    def remove(self, session_id: str, tag: str) -> None:
        with _conflicts(session_id):
            self._s3.delete_object(Bucket=self._bucket, Key=self._key(session_id), IfMatch=tag)

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
