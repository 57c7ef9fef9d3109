"""One session's conversation: a Strands agent of its own, one turn at a time.

An agent keeps its history in itself. One agent for all would let a user read another one's conversation, and
Strands refuses two turns at once; so each session has its agent, and a lock that keeps its turns in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from strands import Agent
from strands.agent.conversation_manager import SlidingWindowConversationManager
from strands.hooks import AfterToolCallEvent, BeforeToolCallEvent

from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.settings import Settings

_FINISHED = ("end_turn", "stop_sequence")


@dataclass
class ToolUse:
    """A call as the model made it; `status` is success or error, or unfinished where the turn ended first."""

    name: str
    arguments: dict[str, Any]
    status: str = "unfinished"


@dataclass(frozen=True)
class Turn:
    """What the agent said, what it called in which order, and the tokens of all its completions."""

    response: str
    tools: list[ToolUse]
    usage: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Conversation:
    """Turns of one session, in order. Use it within one event loop."""

    def __init__(self, model: Any, tools: Sequence[Any], settings: Settings) -> None:
        self._agent = Agent(
            model=model,
            tools=list(tools),
            system_prompt=settings.system_prompt,
            callback_handler=None,
            conversation_manager=SlidingWindowConversationManager(window_size=settings.max_history_messages),
            retry_strategy=None,  # the model's client retries; Strands' own would wait up to two minutes
        )
        self._agent.add_hook(_started, BeforeToolCallEvent)
        self._agent.add_hook(_finished, AfterToolCallEvent)
        self._max_cycles = settings.max_tool_cycles
        self._lock = asyncio.Lock()

    async def turn(self, prompt: str, on_tool: Callable[[ToolUse], None] = lambda use: None) -> Turn:
        """Answer one prompt. A turn that fails leaves no trace in the conversation.

        Raises: AgentError: the model never came to an answer; else what the model's client raised.
        """
        async with self._lock:
            before = list(self._agent.messages)
            uses: dict[str, ToolUse] = {}
            try:
                result = await self._agent.invoke_async(
                    prompt, limits={"turns": self._max_cycles}, invocation_state={"uses": uses}
                )
                if result.stop_reason not in _FINISHED:
                    raise _no_answer(result.stop_reason, self._max_cycles)
            except BaseException:
                self._agent.messages[:] = before
                raise
            finally:
                for use in uses.values():
                    on_tool(use)
            invocation = result.metrics.latest_agent_invocation
            usage: dict[str, Any] = {**invocation.usage} if invocation else {}
            return Turn(str(result).strip(), list(uses.values()), usage)


def _started(event: BeforeToolCallEvent) -> None:
    uses: dict[str, ToolUse] = event.invocation_state["uses"]
    uses[_key(uses, event.tool_use)] = ToolUse(event.tool_use["name"], dict(event.tool_use["input"] or {}))


def _finished(event: AfterToolCallEvent) -> None:
    uses: dict[str, ToolUse] = event.invocation_state["uses"]
    use_id = event.tool_use["toolUseId"]
    newest = [key for key in uses if key.partition(" ")[0] == use_id][-1]
    uses[newest].status = event.result["status"]


def _key(uses: dict[str, ToolUse], tool_use: Any) -> str:
    """Ids are the model's own, and some models count from zero in every completion."""
    return f"{tool_use['toolUseId']} {len(uses)}"


def _no_answer(stop_reason: str, max_cycles: int) -> AgentError:
    if stop_reason == "limit_turns":
        return AgentError(
            502, "tool_loop", f"The model asked for tools {max_cycles} times and gave no answer. Ask in another way."
        )
    return AgentError(502, "no_answer", f"The model ended without an answer ({stop_reason}). Ask in another way.")
