"""The messages of sessions, in the form in which Strands' own session stores keep them.

Only the repository half of Strands' FileSessionManager and S3SessionManager is used: their hooks would write each
message as it comes, blocking the event loop, and a kill would leave half a turn. Call this from worker threads.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from strands.session.file_session_manager import FileSessionManager
from strands.session.s3_session_manager import S3SessionManager
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType, encode_bytes_values

from genai_pipeline.agent.sessions.errors import SessionBroken
from genai_pipeline.agent.sessions.head import IDS_PER_LEASE

AGENT = "agent"
_ID = re.compile(r"message_(\d+)\.json$")
_AT_ONCE = 16


class FileRepository(FileSessionManager):
    """Without the other half, whose constructor would begin a session."""

    def __init__(self, folder: Path) -> None:
        self.storage_dir = str(folder)

    def create_session(self, session: Session, **kwargs: Any) -> Session:
        """Again after a kill, too: what is there already is no error."""
        self._write_file(os.path.join(self._get_session_path(session.session_id), "session.json"), session.to_dict())
        return session

    def erase(self, session_id: str, ids: Iterable[int]) -> None:
        for message_id in ids:
            with suppress(FileNotFoundError):
                os.unlink(self._get_message_path(session_id, AGENT, message_id))

    def erase_through(self, session_id: str, last_id: int) -> None:
        """The messages up to an id, and the rest of the session if nothing newer is there."""
        folder = Path(self._get_agent_path(session_id, AGENT)) / "messages"
        ids = [int(found[1]) for path in folder.glob("*.json") if (found := _ID.search(path.name))]
        self.erase(session_id, (i for i in ids if i <= last_id))
        if all(i <= last_id for i in ids):
            for folder_name, _, names in os.walk(self._get_session_path(session_id), topdown=False):
                for name in names:
                    with suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder_name, name))
                with suppress(OSError):  # gone already, or somebody writes into it meanwhile
                    os.rmdir(folder_name)


class S3Repository(S3SessionManager):
    """Without the other half, whose constructor would begin a session."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self.client, self.bucket, self.prefix = client, bucket, prefix

    def create_session(self, session: Session, **kwargs: Any) -> Session:
        """Again after a kill, too: what is there already is no error."""
        self._write_s3_object(f"{self._get_session_path(session.session_id)}session.json", session.to_dict())
        return session

    def erase(self, session_id: str, ids: Iterable[int]) -> None:
        self._erase_keys([self._get_message_path(session_id, AGENT, i) for i in ids])

    def erase_through(self, session_id: str, last_id: int) -> None:
        """The messages up to an id, and the rest of the session if nothing newer is there."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self._get_session_path(session_id)
        )
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        newer = [key for key in keys if (found := _ID.search(key)) and int(found[1]) > last_id]
        self._erase_keys([k for k in keys if k not in newer and (not newer or _ID.search(k))])

    def _erase_keys(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), 1000):
            batch: Any = {"Objects": [{"Key": key} for key in keys[start : start + 1000]], "Quiet": True}
            self.client.delete_objects(Bucket=self.bucket, Delete=batch)


Repository = FileRepository | S3Repository


class Messages:
    """Turns' messages by session and id; what is written twice is the same."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._pool = ThreadPoolExecutor(_AT_ONCE, "session-messages")

    def write(self, session_id: str, first: int, messages: Sequence[Any], begin: bool) -> None:
        """Side by side; `begin` writes Strands' records of session and agent too."""
        jobs: list[Future[Any]] = [
            self._pool.submit(
                self._repository.create_message, session_id, AGENT, SessionMessage.from_message(message, first + i)
            )
            for i, message in enumerate(messages)
        ]
        if begin:
            kept = {"__name__": "SlidingWindowConversationManager", "removed_message_count": 0, "model_call_count": 0}
            agent, session = SessionAgent(AGENT, {}, kept), Session(session_id, SessionType.AGENT)
            jobs.append(self._pool.submit(self._repository.create_session, session))
            jobs.append(self._pool.submit(self._repository.create_agent, session_id, agent))
        for job in jobs:
            job.result()

    def read(self, session_id: str, ids: Sequence[int]) -> list[Any]:
        """Raises: SessionBroken: one is missing."""
        found = list(self._pool.map(lambda i: self._repository.read_message(session_id, AGENT, i), ids))
        if None in found:
            raise SessionBroken(session_id, "messages are missing")
        return [message.to_message() for message in found if message]

    def erase(self, session_id: str, ids: Iterable[int]) -> None:
        self._repository.erase(session_id, ids)

    def erase_through(self, session_id: str, epoch: int) -> None:
        """All that leases up to this one wrote; a later one's stays."""
        self._repository.erase_through(session_id, (epoch + 1) * IDS_PER_LEASE - 1)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def weighed(messages: Sequence[Any]) -> tuple[list[Any], int]:
    """The messages, with every text fit for UTF-8, and their bytes as JSON.

    A model that cuts a character in two says halves of surrogate pairs: no store keeps them, and no model takes them
    back, so that one such answer would end the conversation.
    """
    kept = list(messages)
    text = json.dumps(encode_bytes_values(kept), ensure_ascii=False)
    try:
        return kept, len(text.encode())
    except UnicodeEncodeError:
        whole = [_whole(message) for message in kept]
        return whole, len(json.dumps(encode_bytes_values(whole), ensure_ascii=False).encode())


def _whole(value: Any) -> Any:
    """Halves that belong together are joined; a lone one becomes the replacement character."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return value
