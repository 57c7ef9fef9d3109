"""The events of a turn, in their order. The last one is TurnAnswered unless an error ends the turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[float, Field(ge=0)]
_DOCUMENTED = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


@dataclass
class ToolUse:
    """A tool call as the model made it.

    Args:
        status: `unfinished` if the turn ended first.
        ms: how long the tool took.
    """

    __pydantic_config__ = _DOCUMENTED

    name: str
    arguments: dict[str, Any]
    status: Literal["success", "error", "unfinished"] = "unfinished"
    ms: Milliseconds = 0.0


@dataclass
class Cycle:
    """One completion of the model: its time without the tools that followed, and its tokens."""

    __pydantic_config__ = _DOCUMENTED

    ms: Milliseconds
    inputTokens: Count = 0  # noqa: N815 (the names of the reply's usage)
    outputTokens: Count = 0  # noqa: N815


@dataclass(frozen=True)
class Turn:
    """The agent's answer, its tool calls in their order, and the tokens of all completions."""

    response: str
    tools: list[ToolUse] = field(default_factory=list)
    cycles: list[Cycle] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TurnBegun:
    """The turn has its session. Errors from here on belong to the turn."""

    session_id: str


@dataclass(frozen=True)
class Delta:
    """A piece of text from the model."""

    text: str


@dataclass(frozen=True)
class ToolStarted:
    use: ToolUse


@dataclass(frozen=True)
class ToolEnded:
    use: ToolUse


@dataclass(frozen=True)
class TurnAnswered:
    """The turn is over and counts; `reply` is the JSON of the answer."""

    reply: dict[str, Any]


Event = TurnBegun | Delta | ToolStarted | ToolEnded | TurnAnswered
Emit = Callable[[Event], None]
