"""What happens during a turn, in the order in which it happens; the last one is Answered unless an error ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class ToolUse:
    """A call as the model made it.

    Args:
        status: success or error; unfinished where the turn ended first.
        ms: how long the tool took, in milliseconds.
    """

    name: str
    arguments: dict[str, Any]
    status: str = "unfinished"
    ms: float = 0.0


@dataclass
class Cycle:
    """One completion of the model: its milliseconds without the tools that followed, and its tokens."""

    ms: float
    inputTokens: int = 0  # noqa: N815 (the names of the reply's usage)
    outputTokens: int = 0  # noqa: N815


@dataclass(frozen=True)
class Turn:
    """What the agent said, what it called in which order, and the tokens of all its completions."""

    response: str
    tools: list[ToolUse] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Begun:
    """The session is this turn's; what fails from here on fails within the turn."""

    session_id: str


@dataclass(frozen=True)
class Delta:
    """Text as it came from the model."""

    text: str


@dataclass(frozen=True)
class ToolStarted:
    use: ToolUse


@dataclass(frozen=True)
class ToolEnded:
    use: ToolUse


@dataclass(frozen=True)
class Answered:
    """The turn is over and kept; `reply` is the JSON of the answer."""

    reply: dict[str, Any]


Event = Begun | Delta | ToolStarted | ToolEnded | Answered
Emit = Callable[[Event], None]
