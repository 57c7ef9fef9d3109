"""One session as it is stored: a single JSON object with the turns, the owner's digest and the lease."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from strands.types.session import decode_bytes_values, encode_bytes_values

from genai_pipeline.agent.sessions.session_errors import SessionBroken

FORMAT = 1
"""Written into each record. A record of another format is refused."""


@dataclass(frozen=True)
class StoredTurn:
    """One turn of a conversation.

    Args:
        at: Unix time of its end.
        messages: as Strands keeps them in an agent's history.
        size: bytes of the messages as JSON.
        ms: duration of each tool call in milliseconds, in the order of the calls.
        id: tells two turns with the same messages apart.
    """

    at: float
    messages: list[Any]
    size: int
    ms: tuple[float, ...] = ()
    id: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True)
class SessionRecord:
    """A session. All times are Unix times.

    Args:
        owner: digest of the caller's key (`owner_mark`), or an empty text if the service needs no key.
        holder: name of the replica that works on the session, or an empty text if no replica does.
        held_until: end of that replica's lease.
    """

    owner: str
    created_at: float
    used_at: float
    turns: tuple[StoredTurn, ...] = ()
    holder: str = ""
    held_until: float = 0.0

    @property
    def history(self) -> list[Any]:
        """All messages, oldest first."""
        return [message for turn in self.turns for message in turn.messages]

    def with_turn(self, turn: StoredTurn, forget: int) -> SessionRecord:
        """Return the record with one more turn, without its `forget` oldest turns and without a lease."""
        return replace(self, turns=(*self.turns[forget:], turn), used_at=turn.at).released()

    def released(self) -> SessionRecord:
        return replace(self, holder="", held_until=0.0)

    def to_bytes(self) -> bytes:
        data = _shallow(self) | {"turns": [_shallow(turn) for turn in self.turns], "format": FORMAT}
        return json.dumps(encode_bytes_values(data), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, session_id: str, body: bytes) -> SessionRecord:
        """Raises: SessionBroken: the bytes are not a record of this format."""
        try:
            data = decode_bytes_values(json.loads(body))
            if data.pop("format") != FORMAT:
                raise SessionBroken(session_id, "another version of the service wrote it")
            turns = tuple(StoredTurn(**turn | {"ms": tuple(turn["ms"])}) for turn in data["turns"])
            return cls(**data | {"turns": turns})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SessionBroken(session_id, "the stored object is not a session") from error


def turns_to_forget(turns: Sequence[StoredTurn], new: StoredTurn, forgotten: int, limits: SessionLimits) -> int:
    """Return how many of the oldest turns have to go when `new` is added.

    Args:
        forgotten: messages at the beginning of the history that did not fit the model.
    """
    count = 0
    messages = sum(len(turn.messages) for turn in (*turns, new))
    size = sum(turn.size for turn in (*turns, new))
    while count < len(turns) and (forgotten > 0 or messages > limits.max_messages or size > limits.max_bytes):
        oldest = turns[count]
        count += 1
        forgotten -= len(oldest.messages)
        messages -= len(oldest.messages)
        size -= oldest.size
    return count


def newest_turns(history: Sequence[Any], limits: SessionLimits) -> list[Any]:
    """Return the newest turns of a history of prompts and answers, as many as a session may hold."""
    left = list(history)
    while len(left) > limits.max_messages or weighed(left)[1] > limits.max_bytes:
        next_turn = (at for at, message in enumerate(left) if at and message["role"] == "user")
        left = left[next(next_turn, len(left)) :]
    return left


@dataclass(frozen=True)
class SessionLimits:
    """Limits of the sessions of one process.

    Args:
        max_count: sessions in memory. The least recently used one is dropped first; one in use is never dropped.
        ttl_s: a session ends when it was not used for so long.
        max_bytes: size of one session's messages as JSON. Its oldest turns are dropped beyond it.
        max_messages: messages of one session. Its oldest turns are dropped beyond it.
    """

    max_count: int
    ttl_s: float
    max_bytes: int
    max_messages: int


def _shallow(value: SessionRecord | StoredTurn) -> dict[str, Any]:
    return {entry.name: getattr(value, entry.name) for entry in fields(value)}


def weighed(messages: Sequence[Any]) -> tuple[list[Any], int]:
    """Return the messages with every text fit for UTF-8, and their size as JSON in bytes.

    A model that cuts a character in two sends halves of surrogate pairs. No store keeps them and no model takes them
    back, so one such answer would end the conversation.
    """
    kept = list(messages)
    text = json.dumps(encode_bytes_values(kept), ensure_ascii=False)
    try:
        return kept, len(text.encode())
    except UnicodeEncodeError:
        repaired = [_repaired(message) for message in kept]
        return repaired, len(json.dumps(encode_bytes_values(repaired), ensure_ascii=False).encode())


def _repaired(value: Any) -> Any:
    """Join halves that belong together; replace a lone half by the replacement character."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_repaired(key): _repaired(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_repaired(part) for part in value]
    return value
