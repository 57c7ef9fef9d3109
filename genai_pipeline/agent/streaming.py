"""Send a turn as server-sent events, and end a turn when its client disconnects.

Events: `delta {"text"}`, `tool_start {name, arguments}`, `tool_end {name, status, ms}`, `done {the whole reply}` or
`error {code, message}`, which is the last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.running_turn import RunningTurn
from genai_pipeline.agent.turn_events import Delta, Event, ToolEnded, ToolStarted, TurnAnswered, TurnBegun

EVENTS = "text/event-stream"
HEARTBEAT_S = 15.0
"""Below the sixty seconds after which most proxies close an idle connection."""
HEARTBEAT = ": still at work\n\n"


def wants_events(accept: str) -> bool:
    """Return whether an Accept header names text/event-stream and does not prefer JSON."""
    liked = dict(_preferences(accept.lower()))
    return liked.get(EVENTS, 0.0) > 0 and liked[EVENTS] >= liked.get("application/json", 0.0)


def _preferences(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weights = [p.removeprefix("q=") for p in (p.replace(" ", "") for p in parameters) if p.startswith("q=")]
        try:
            yield name, float(weights[0]) if weights else 1.0
        except ValueError:
            yield name, 1.0


class StreamForm(Protocol):
    """Writes what happens in a turn as server-sent events."""

    def event(self, event: Event | None) -> str:
        """Return the event's text, or an empty one if it is for this service only. None: nothing happened for long."""
        ...

    def error(self, error: AgentError) -> str:
        """Return the text of the error that ends the stream."""
        ...


class AgentEvents:
    """The events of POST /agent."""

    def event(self, event: Event | None) -> str:
        match event:
            case None:
                return HEARTBEAT
            case Delta(text):
                return _frame("delta", {"text": text})
            case ToolStarted(use):
                return _frame("tool_start", {"name": use.name, "arguments": use.arguments})
            case ToolEnded(use):
                return _frame("tool_end", {"name": use.name, "status": use.status, "ms": use.ms})
            case TurnAnswered(reply):
                return _frame("done", reply)
            case TurnBegun():
                return ""

    def error(self, error: AgentError) -> str:
        return _frame("error", {"code": error.code, "message": error.message})


class EventStream(StreamingResponse):
    """Ends the turn with the response: Starlette ends the response when the client disconnects."""

    def __init__(self, frames: AsyncIterator[str], turn: RunningTurn) -> None:
        self._turn = turn
        super().__init__(frames, media_type=EVENTS, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._turn.cancel()


async def stream(request: Request, turn: RunningTurn, form: StreamForm, on_text: Callable[[], None]) -> EventStream:
    """Return the turn as a stream, as soon as it has begun. Args: on_text: called once, with the first text.

    Raises: AgentError: the turn did not begin. Such an error gets its own status, not a place in the stream.
    """
    try:
        first = await turn.next(HEARTBEAT_S)
    except BaseException:
        turn.cancel()
        raise
    return EventStream(_frames(request, first, turn, form, on_text), turn)


async def _frames(
    request: Request, event: Event | None, turn: RunningTurn, form: StreamForm, on_text: Callable[[], None]
) -> AsyncIterator[str]:
    spoken = False
    try:
        while not isinstance(event, TurnAnswered):
            if isinstance(event, Delta) and not spoken:
                spoken = True
                on_text()
            if frame := form.event(event):
                yield frame
            event = await turn.next(HEARTBEAT_S)
        yield form.event(event)
    except AgentError as error:
        request.state.error_status = error.status
        yield form.error(error)


def _frame(name: str, data: dict[str, Any]) -> str:
    """Return a frame in ASCII: many readers end a line at U+2028, and UTF-8 has no halves of surrogate pairs."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def until_disconnect(request: Request, turn: RunningTurn) -> dict[str, Any]:
    """Return the turn's answer; cancel the turn if the client disconnects. Raises: AgentError."""
    gone = asyncio.ensure_future(request.receive())  # the body is read: only the disconnect can follow
    try:
        await asyncio.wait([gone, turn.task], return_when=asyncio.FIRST_COMPLETED)
        if not turn.task.done():
            raise AgentError(499, "client_gone", "The client disconnected before the answer came.")
        return turn.reply()
    finally:
        gone.cancel()
        turn.cancel()
