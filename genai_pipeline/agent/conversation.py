"""One session's conversation: its own Strands agent, one turn at a time.

A Strands agent holds its history and refuses two turns at once. One agent for all sessions would show a user another
user's conversation. So each session has its agent, and sessions/keeper.py keeps its turns in order. Each turn gets the
history and returns the new messages; the messages of a failed turn are dropped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from strands import Agent
from strands.agent.conversation_manager import ConversationManager
from strands.hooks import AfterModelCallEvent, AfterToolCallEvent, BeforeModelCallEvent, BeforeToolCallEvent
from strands.telemetry.metrics import EventLoopMetrics
from strands.types.exceptions import ContextWindowOverflowException

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.sessions.keeper import TurnOutcome
from genai_pipeline.agent.sessions.session_record import weighed
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.turn_events import Cycle, Delta, Emit, ToolEnded, ToolStarted, ToolUse, Turn

_FINISHED = ("end_turn", "stop_sequence")
_NOTES = "notes"
"""Key of Strands' invocation state under which the hooks find the turn they belong to."""


@dataclass
class _Notes:
    """The hooks' record of one turn."""

    emit: Emit
    uses: dict[str, ToolUse] = field(default_factory=dict)
    cycles: list[Cycle] = field(default_factory=list)
    asked_at: float = 0.0


class WholeTurns(ConversationManager):
    """Drops the oldest turn as a whole when the conversation no longer fits the model: a call keeps its result."""

    def apply_management(self, agent: Agent, **kwargs: Any) -> None:
        """Do nothing between turns: sessions/keeper.py applies the limits of a session."""

    def reduce_context(self, agent: Agent, e: Exception | None = None, **kwargs: Any) -> None:
        """Raises: e: the turn under way is the only one."""
        asked = [i for i, message in enumerate(agent.messages) if _is_prompt(message)]
        if len(asked) < 2:
            raise e or ContextWindowOverflowException("one turn alone does not fit the model")
        self.removed_message_count += asked[1]
        del agent.messages[: asked[1]]


class Conversation:
    """Turns of one session, one at a time. Use it within one event loop."""

    def __init__(self, model: Any, tools: Sequence[Any], settings: Settings) -> None:
        self._turns = WholeTurns()
        self._agent = Agent(
            model=model,
            tools=list(tools),
            system_prompt=settings.system_prompt,
            callback_handler=None,
            conversation_manager=self._turns,
            retry_strategy=None,  # the model's client retries; Strands' own would wait up to two minutes
        )
        self._agent.add_hook(_model_asked, BeforeModelCallEvent)
        self._agent.add_hook(_model_answered, AfterModelCallEvent)
        self._agent.add_hook(_tool_started, BeforeToolCallEvent)
        self._agent.add_hook(_tool_ended, AfterToolCallEvent)
        self._max_cycles, self._max_tokens = settings.max_tool_cycles, settings.max_request_tokens

    async def turn(
        self,
        prompt: str,
        history: Sequence[Any],
        emit: Emit = lambda event: None,
        trace_attributes: Mapping[str, str] | None = None,
    ) -> TurnOutcome:
        """Answer one prompt after a history and emit the events. The caller has to keep the outcome.

        Raises: AgentError: the model gave no answer; otherwise the error of the model's client.
        """
        self._agent.messages[:] = history
        self._agent.trace_attributes = dict(trace_attributes or {})
        self._turns.removed_message_count = 0
        notes = _Notes(emit)
        try:
            turn = await self._answer(prompt, notes)
            forgotten = self._turns.removed_message_count
            new, size = weighed(self._agent.messages[len(history) - forgotten :])
            return TurnOutcome(turn, new, forgotten, size)
        except BaseException:
            for use in notes.uses.values():
                if use.status == "unfinished":
                    emit(ToolEnded(use))
            raise
        finally:
            self._agent.messages.clear()

    async def _answer(self, prompt: str, notes: _Notes) -> Turn:
        self._agent.event_loop_metrics = EventLoopMetrics()  # otherwise it keeps every turn of the session
        limits: Any = {"turns": self._max_cycles, "total_tokens": self._max_tokens}
        result: Any = None
        async for event in self._agent.stream_async(prompt, limits=limits, invocation_state={_NOTES: notes}):
            if event.get("data"):
                notes.emit(Delta(event["data"]))
            result = event.get("result", result)
        if result.stop_reason not in _FINISHED:
            raise self._no_answer(result.stop_reason)
        invocation = result.metrics.latest_agent_invocation
        for cycle, counted in zip(notes.cycles, invocation.cycles, strict=False):
            cycle.inputTokens = counted.usage.get("inputTokens", 0)
            cycle.outputTokens = counted.usage.get("outputTokens", 0)
        return Turn(str(result).strip(), list(notes.uses.values()), notes.cycles, {**invocation.usage})

    def _no_answer(self, stop_reason: str) -> AgentError:
        reasons = {
            "limit_turns": ("tool_loop", f"The model asked for tools {self._max_cycles} times and gave no answer."),
            "limit_total_tokens": (
                "too_many_tokens",
                f"The model used more than {self._max_tokens} tokens and gave no answer.",
            ),
        }
        code, what = reasons.get(stop_reason, ("no_answer", f"The model ended without an answer ({stop_reason})."))
        return AgentError(502, code, f"{what} Ask in another way.")


def _is_prompt(message: Any) -> bool:
    return message["role"] == "user" and not any("toolResult" in block for block in message["content"])


def _model_asked(event: BeforeModelCallEvent) -> None:
    # The words before a tool call may hold half a character, which cannot be sent.
    event.agent.messages[-2:] = weighed(event.agent.messages[-2:])[0]
    event.invocation_state[_NOTES].asked_at = time.perf_counter()


def _model_answered(event: AfterModelCallEvent) -> None:
    notes: _Notes = event.invocation_state[_NOTES]
    notes.cycles.append(Cycle(_ms(time.perf_counter() - notes.asked_at)))


def _tool_started(event: BeforeToolCallEvent) -> None:
    notes: _Notes = event.invocation_state[_NOTES]
    use = ToolUse(event.tool_use["name"], dict(event.tool_use["input"] or {}))
    # The ids are the model's, and some models count from zero in every completion.
    notes.uses[f"{event.tool_use['toolUseId']} {len(notes.uses)}"] = use
    notes.emit(ToolStarted(use))


def _tool_ended(event: AfterToolCallEvent) -> None:
    notes: _Notes = event.invocation_state[_NOTES]
    use_id = event.tool_use["toolUseId"]
    use = notes.uses[[key for key in notes.uses if key.rpartition(" ")[0] == use_id][-1]]
    use.status, use.ms = event.result["status"], _ms(event.duration or 0.0)
    notes.emit(ToolEnded(use))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
