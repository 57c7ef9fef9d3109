"""Read a stream of chat completion chunks with distrust: the client hands on whatever JSON the endpoint sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from genai_pipeline.agent.models.failures import BrokenStream
from genai_pipeline.agent.models.silence import paced

FINISH_REASONS = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
    "eos": "stop",  # Together, TGI
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
}
"""The API's own on the right; on the left what endpoints say. Anything else (vLLM's abort, error) is no end."""
TAIL_S = 2.0
"""After the last word only the usage may come; an answer that is whole does not wait for it any longer."""
TAIL_CHUNKS = 64
MAX_COUNT = 2**53
"""Of tokens: more is no count, and no float."""


async def checked_chunks(stream: Any, silence_s: float) -> AsyncGenerator[Any, None]:
    """The stream's chunks, each of a form that Strands can read.

    Raises: BrokenStream, Stalled; else what the client raises.
    """
    finished = False
    try:
        async for chunk in _readable(paced(stream, silence_s, lambda chunk: bool(getattr(chunk, "choices", None)))):
            choice = _checked(chunk)
            finished = finished or bool(choice and choice.finish_reason)
            yield chunk
            if finished:
                break
        if not finished:
            raise BrokenStream("the stream ended before the answer did")
        async for chunk in _tail(stream):
            yield chunk
    finally:
        await stream.close()


async def _readable(chunks: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    try:
        async for chunk in chunks:
            yield chunk
    except (ValueError, RecursionError) as error:  # json's, and that of bytes that are no text
        raise BrokenStream("a piece of the stream is no JSON") from error


async def _tail(stream: Any) -> AsyncGenerator[Any, None]:
    """What follows the last word, if it comes at once and makes sense."""
    count = 0
    try:
        async for chunk in _readable(paced(stream, TAIL_S, lambda chunk: False)):
            count += 1
            if _is_usage(getattr(chunk, "usage", None)):
                chunk.choices = []
                yield chunk
            if count == TAIL_CHUNKS:
                return
    except Exception:  # the answer is whole: only its usage stays unknown
        return


def _checked(chunk: Any) -> Any:
    """The chunk's choice, if it has one. Raises: BrokenStream."""
    choices = getattr(chunk, "choices", None)
    if isinstance(choices, list):  # one answer was asked for: what has another number is another one
        chunk.choices = choices = [choice for choice in choices if not getattr(choice, "index", None)]
    if not choices:
        return None
    choice = choices[0] if isinstance(choices, list) else None
    if choice is None or isinstance(choice, (str, int, float, list, dict)):
        raise BrokenStream("a piece of the stream has choices that are none")
    finish, delta = getattr(choice, "finish_reason", None) or None, getattr(choice, "delta", None)
    if finish is not None and (not isinstance(finish, str) or finish not in FINISH_REASONS):
        raise BrokenStream(f"it ended for a reason that is unknown ({str(finish)[:40]!r})")
    if delta is None:  # Azure's notes of its filter have none
        delta = _empty_delta()
    if isinstance(delta, (str, int, float, list, dict)):
        raise BrokenStream("a piece of the stream has no delta")
    choice.finish_reason = FINISH_REASONS[finish] if finish is not None else None
    choice.delta = _checked_delta(delta)
    if not _is_usage(getattr(chunk, "usage", None)):
        chunk.usage = None
    return choice


def _empty_delta() -> Any:
    from openai.types.chat.chat_completion_chunk import ChoiceDelta

    return ChoiceDelta()


def _checked_delta(delta: Any) -> Any:
    delta.content, delta.tool_calls = getattr(delta, "content", None), getattr(delta, "tool_calls", None)
    if delta.content is not None and not isinstance(delta.content, str):
        raise BrokenStream("a piece of the text is no text")
    if delta.tool_calls is not None and not isinstance(delta.tool_calls, list):
        raise BrokenStream("a tool call is none")
    for call in delta.tool_calls or []:
        function: Any = getattr(call, "function", None)
        if not isinstance(getattr(call, "index", None), int) or getattr(function, "__dict__", None) is None:
            raise BrokenStream("a tool call is none")
        call.id = getattr(call, "id", None)
        function.name, function.arguments = getattr(function, "name", None), getattr(function, "arguments", None)
        if any(not isinstance(part, (str, type(None))) for part in (call.id, function.name, function.arguments)):
            raise BrokenStream("a tool call is none")
    return delta


def _is_usage(usage: Any) -> bool:
    counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
    return all(isinstance(count, int) and 0 <= count <= MAX_COUNT for count in [*counts, cached or 0])
