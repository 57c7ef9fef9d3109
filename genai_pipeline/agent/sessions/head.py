"""The one small record that says what a session is: which messages count, whose it is, who works on it now.

Messages are written first, under ids that nobody else uses, and count once this record names them. So a kill
anywhere leaves the conversation as it was, and a replica that lost its lease cannot spoil it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from genai_pipeline.agent.sessions.errors import SessionBroken

IDS_PER_LEASE = 1000
"""Each lease numbers its messages from `epoch * IDS_PER_LEASE`: more than one turn ever has."""


@dataclass(frozen=True)
class Kept:
    """One turn that counts.

    Args:
        at: Unix time of its end.
        first: id of its first message; the others follow.
        count: how many messages it has.
        size: their bytes as JSON.
        ms: how long each of its tools took.
    """

    at: float
    first: int
    count: int
    size: int
    ms: tuple[float, ...] = ()

    @property
    def ids(self) -> range:
        return range(self.first, self.first + self.count)


@dataclass(frozen=True)
class Head:
    """Times are Unix times. `epoch` grows with every lease, over the session's end too.

    Args:
        owner: owner_mark of the caller's key.
        holder: the replica that works on it; empty when none does.
        held_until: when that replica's lease ends, unless it is renewed.
        deleted: it is being removed; whoever finds it so removes the rest.
    """

    owner: str
    created_at: float
    used_at: float
    epoch: int
    turns: tuple[Kept, ...] = ()
    holder: str = ""
    held_until: float = 0.0
    deleted: bool = False

    def leased(self, holder: str, until: float) -> Head:
        return replace(self, holder=holder, held_until=until, epoch=self.epoch + 1)

    def released(self, **changes: Any) -> Head:
        return replace(self, holder="", held_until=0.0, **changes)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, session_id: str, body: bytes) -> Head:
        """Raises: SessionBroken."""
        try:
            data = json.loads(body)
            turns = tuple(Kept(**turn | {"ms": tuple(turn["ms"])}) for turn in data["turns"])
            return cls(**data | {"turns": turns})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SessionBroken(session_id, "its record makes no sense") from error
