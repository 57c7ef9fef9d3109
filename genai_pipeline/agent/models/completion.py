"""Check one completion, from whichever endpoint it comes.

Events without content are held back, so that another model may still answer. A tool call is passed on when it is
whole, so that half a call, or one with malformed arguments, is never made.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Any

from genai_pipeline.agent.models.completion_failures import BrokenStream, UnusableAnswer

Event = dict[str, Any]

MAX_TOOL_CALLS = 32
"""In one completion. Strands runs them at the same time."""
MAX_NAME_CHARS = 128
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The form of a tool's name and of a call's id that every endpoint accepts. Bedrock accepts no other."""
_REDACTED = "redactContent"


class CompletionReader:
    """Checks the events of one completion.

    Args:
        max_chars: of text, reasoning and arguments together.
        taken_ids: ids of tool calls that are already in the conversation.
        probe: the answer may be empty, because a probe asks for one token.
    """

    def __init__(self, max_chars: int, taken_ids: Iterable[str] = (), probe: bool = False) -> None:
        self._max_chars, self._taken, self._probe = max_chars, set(taken_ids), probe
        self._chars = self._calls = 0
        self._said = False
        self._stop: str | None = None
        self._half_call: UnusableAnswer | None = None

    async def read(self, events: AsyncIterable[Event]) -> AsyncGenerator[Event, None]:
        """Yield the checked events. Raises: BrokenStream, UnusableAnswer; otherwise the endpoint's error."""
        held: list[Event] = []
        async for event in self._whole_calls(events):
            held.append(event)
            if "contentBlockDelta" in event or "metadata" in event or _REDACTED in event:
                for kept in held:
                    yield kept
                held = []
        self._check_end()
        for kept in held:
            yield kept

    async def _whole_calls(self, events: AsyncIterable[Event]) -> AsyncGenerator[Event, None]:
        call: dict[str, Any] | None = None
        async for event in events:
            start = event.get("contentBlockStart", {}).get("start") or {}
            delta = event.get("contentBlockDelta", {}).get("delta") or {}
            if "toolUse" in start:
                call = {"start": start["toolUse"], "input": []}
            elif call is not None and "toolUse" in delta:
                call["input"].append(self._counted(delta["toolUse"].get("input") or ""))
            elif call is not None and "contentBlockStop" in event:
                for made in self._call(call):
                    yield made
                call = None
            else:
                self._look_at(event, delta)
                yield event

    def _look_at(self, event: Event, delta: dict[str, Any]) -> None:
        if "text" in delta:
            self._said = bool(self._counted(delta["text"]).strip()) or self._said
        if "reasoningContent" in delta:
            self._counted(str(delta["reasoningContent"].get("text", "")))
        if _REDACTED in event:
            self._said = True
        if "messageStop" in event:
            self._stop = event["messageStop"].get("stopReason", "end_turn")
            self._check_end()  # before it is passed on: only the usage may follow

    def _counted(self, text: str) -> str:
        self._chars += len(text)
        if self._chars > self._max_chars:
            raise UnusableAnswer(f"It is longer than {self._max_chars} characters.")
        return text

    def _call(self, call: dict[str, Any]) -> Iterable[Event]:
        name, written = call["start"].get("name"), _joined(call["input"])
        if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_CHARS:
            raise UnusableAnswer("It calls a tool without a usable name.")
        try:
            arguments = json.loads(written) if written.strip() else {}
            json.dumps(
                [name, arguments], ensure_ascii=False, allow_nan=False
            ).encode()  # no model would accept others in the history
        except (ValueError, RecursionError):
            # Whether the model wrote them so, or was cut off, is known at the end of the answer.
            self._half_call = UnusableAnswer(f"It calls {name[:40]!r} with arguments that are not JSON.")
            return
        if arguments is not None and not isinstance(arguments, dict):
            raise UnusableAnswer(f"It calls {name[:40]!r} with arguments that are not a JSON object.")
        self._calls += 1
        if self._calls > MAX_TOOL_CALLS:
            raise UnusableAnswer(f"It calls more than {MAX_TOOL_CALLS} tools at once.")
        if not _PLAIN.fullmatch(name):  # Strands would not call its hooks for such a call
            name = f"invalid_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}"[:64]
        tool_use = {**call["start"], "name": name, "toolUseId": self._own_id(call["start"].get("toolUseId"))}
        yield {"contentBlockStart": {"start": {"toolUse": tool_use}}}
        yield {"contentBlockDelta": {"delta": {"toolUse": {"input": written if arguments else "{}"}}}}
        yield {"contentBlockStop": {}}

    def _own_id(self, given: Any) -> str:
        """Return the model's id if it is valid and unused, otherwise a new one: results are matched to calls by it."""
        own = given if isinstance(given, str) and _PLAIN.fullmatch(given) else ""
        while not own or own in self._taken:
            own = f"{secrets.randbits(36):09x}"  # nine characters: Mistral's templates accept no other length
        self._taken.add(own)
        return own

    def _check_end(self) -> None:
        if self._stop is None:
            raise BrokenStream("The stream ended before the answer did.")
        if self._half_call and self._stop != "max_tokens":
            raise self._half_call
        if self._probe:
            return
        if self._stop == "tool_use" and not self._calls:
            raise UnusableAnswer("It announces tool calls but makes no call.")
        if self._stop in ("end_turn", "stop_sequence") and not self._calls and not self._said:
            raise UnusableAnswer("It is empty.")


def _joined(pieces: Iterable[str]) -> str:
    """Join the pieces; a character that the model cut in two becomes whole again."""
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def tool_use_ids(messages: Iterable[Any]) -> set[str]:
    """Return the ids of all tool calls in a conversation."""
    blocks = (block for message in messages for block in message.get("content", ()))
    return {str(block["toolUse"]["toolUseId"]) for block in blocks if "toolUse" in block}
