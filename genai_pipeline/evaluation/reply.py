"""What came back from one question: an answer, or the reason why nothing was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class ReportedCall:
    """A tool call as it was reported; `ms` is None where its duration is not known.

    `status` is empty where the call was only made, and not answered by a tool.
    """

    name: str
    arguments: Any
    status: str = ""
    ms: float | None = None

    def __str__(self) -> str:
        shown = f"{self.name}({', '.join(str(value) for value in self.arguments.values())})"
        return shown.encode("utf-8", "backslashreplace").decode()  # a terminal refuses half of an emoji

    def to_json(self) -> dict[str, Any]:
        about = {"name": self.name, "arguments": self.arguments}
        return about | {"status": self.status, "ms": self.ms} if self.status else about


@dataclass(frozen=True)
class Reply:
    """One turn as it was seen from outside.

    Args:
        asked_at: UTC.
        seconds: until the whole answer was there.
        problem: an error of the agent itself; empty when it answered.
        cycles_s: of each request to the model, or an empty list where this is not known.
        input_tokens, output_tokens: of the whole turn; 0 where they are not known.
        prompt: what was asked.
        about: further facts for the stored transcript.
    """

    asked_at: datetime
    seconds: float
    response: str = ""
    session_id: str = ""
    calls: tuple[ReportedCall, ...] = ()
    problem: str = ""
    cycles_s: tuple[float, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    prompt: str = ""
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "response": self.response or self.problem,
            "calls": [call.to_json() for call in self.calls],
            "seconds": round(self.seconds, 4),
            **self.about,
        }


class NotMeasured(Exception):
    """No answer that says anything about what was asked. `seconds` is how long it was waited for."""

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        self.reason, self.seconds = reason, seconds
        super().__init__(reason)
