"""What people are told of without asking."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class NoticeKind(StrEnum):
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
    """One thing that happened to a release; `at` is ISO 8601 UTC, `text` one sentence with the reason."""

    kind: NoticeKind
    model: str
    release: str
    text: str
    at: str

    @property
    def key(self) -> str:
        """The same for the same thing, so that a step that runs again announces it once."""
        said = hashlib.sha256(self.text.encode()).hexdigest()[:8]
        return f"notices/{self.model}/{self.release}-{self.kind.replace(' ', '-')}-{said}.json"

    @property
    def sent_key(self) -> str:
        """Of the marker that it has been sent."""
        return f"notices-sent/{self.key.removeprefix('notices/')}"

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Notice:
        data = json.loads(body)
        return cls(**data | {"kind": NoticeKind(data["kind"])})
