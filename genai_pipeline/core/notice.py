"""Notices: what the pipeline reports to people without being asked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class NoticeKind(StrEnum):
    """What happened. The value is part of the message."""

    REJECTED = "rejected"
    ROLLED_BACK = "rolled back"
    INCONCLUSIVE = "inconclusive"
    NO_CAPACITY = "capacity impossible"
    AWAITING_APPROVAL = "awaiting approval"
    DRIFT = "drift"
    REDEPLOY_FAILED = "redeploy failed"
    NO_LONGER_PASSES = "no longer passes"
    UPKEEP_FAILED = "upkeep failed"


@dataclass(frozen=True)
class Notice:
    """One thing that happened to a release.

    Args:
        text: one sentence with the reason.
        at: ISO 8601 in UTC.
    """

    kind: NoticeKind
    model: str
    release: str
    text: str
    at: str

    @property
    def key(self) -> str:
        """Return the key in the store. The same text has the same key, so a step that runs again sends it once."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:8]
        return f"notices/{self.model}/{self.release}-{self.kind.replace(' ', '-')}-{digest}.json"

    @property
    def sent_key(self) -> str:
        """Return the key of the marker of a sent notice."""
        return f"notices-sent/{self.key.removeprefix('notices/')}"

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Notice:
        data = json.loads(body)
        return cls(**data | {"kind": NoticeKind(data["kind"])})
