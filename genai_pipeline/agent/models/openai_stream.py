"""Read a streamed chat completion: server-sent events, each of them a chunk in JSON.

The client of `openai` does not check what the endpoint sends, so every chunk is checked here. Source of the format:
https://platform.openai.com/docs/api-reference/chat-streaming.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, ValidatorFunctionWrapHandler
from pydantic import WrapValidator as Wrap

from genai_pipeline.agent.models.completion_failures import BrokenStream
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
"""What endpoints send, and the API's own word for it. Other reasons (vLLM's abort, error) do not end an answer well."""
TAIL_S = 2.0
"""The usage may follow the last word. A whole answer waits no longer for it."""
TAIL_CHUNKS = 64
AFTER_DONE_S = 0.1
"""The end of the body may follow `[DONE]`. Only a body that was read to its end leaves a connection to use again."""
MAX_COUNT = 2**53
"""Of tokens: a larger number is not a count."""


class ErrorInStream(Exception):
    """The endpoint sent an error instead of a chunk. Args: body: the error as it was sent."""

    def __init__(self, body: Any) -> None:
        self.body = body
        message = body.get("message") if isinstance(body, dict) else None
        super().__init__(message if isinstance(message, str) and message else "An error occurred during streaming.")


def _text(value: Any) -> Any:
    # Not pydantic's `str`: a model that cuts a character in two sends halves of surrogate pairs, which it refuses.
    if value is not None and not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _as_text(value: Any) -> Any:
    """Write arguments that came as an object, which some gateways send, as the text that the API has."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _finish_reason(value: Any) -> str | None:
    if not value:
        return None
    if not isinstance(value, str) or value not in FINISH_REASONS:
        raise ValueError(f"must be one of {', '.join(FINISH_REASONS)}, not {str(value)[:40]!r}")
    return FINISH_REASONS[value]


def _or_none(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    with suppress(ValidationError):
        return check(value)
    return None


Text = Annotated[Any, AfterValidator(_text)]
Count = Annotated[int, Field(strict=True, ge=0, le=MAX_COUNT)]


class FunctionDelta(BaseModel):
    name: Text = None
    arguments: Annotated[Any, BeforeValidator(_as_text), AfterValidator(_text)] = None


class ToolCallDelta(BaseModel):
    index: Annotated[int, Field(strict=True)]
    id: Text = None
    function: FunctionDelta


class ChunkDelta(BaseModel):
    content: Text = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[ToolCallDelta] | None = None


class ChunkChoice(BaseModel):
    index: Any = 0
    delta: Annotated[ChunkDelta, BeforeValidator(lambda value: {} if value is None else value)] = (
        ChunkDelta()
    )  # Azure's notes
    finish_reason: Annotated[str | None, BeforeValidator(_finish_reason)] = None


class ChunkTokenDetails(BaseModel):
    cached_tokens: Count | None = None


class ChunkUsage(BaseModel):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: ChunkTokenDetails | None = None


class CompletionChunk(BaseModel):
    """One chunk, with the attributes that Strands' OpenAIModel reads."""

    choices: Annotated[list[ChunkChoice], BeforeValidator(lambda value: [] if value is None else value)] = []
    usage: Annotated[ChunkUsage | None, Wrap(_or_none)] = None


async def read_chunks(parts: AsyncIterable[bytes], silence_s: float) -> AsyncGenerator[CompletionChunk, None]:
    """Yield the chunks of one answer, to its end.

    Args:
        parts: the body of the HTTP answer.
        silence_s: longest time without a chunk that has a choice.
    Raises: BrokenStream, ErrorInStream, Stalled; otherwise the error of `parts`.
    """
    chunks = _chunks(_events(aiter(parts)))
    async for chunk in paced(chunks, silence_s, lambda chunk: bool(chunk.choices)):
        yield chunk
        if chunk.choices and chunk.choices[0].finish_reason:
            break
    else:
        raise BrokenStream("The stream ended before the answer did.")
    with suppress(Exception):  # the answer is whole: at worst its usage stays unknown
        count = 0
        async for chunk in paced(chunks, TAIL_S, lambda chunk: False):
            count += 1
            if chunk.usage:
                yield CompletionChunk(usage=chunk.usage)
            if count == TAIL_CHUNKS:
                break


class _CallIndexes:
    """Gives each tool call an index of its own.

    Gemini's endpoint and some of vLLM's parsers send several calls at index 0, which differ in id and name.
    """

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._moved: dict[int, int] = {}

    def tell_apart(self, call: ToolCallDelta) -> None:
        """Set the index under which the pieces of this call are joined."""
        given = call.index
        known = self._ids.get(self._moved.get(given, given))
        if call.id and known and call.id != known and call.function.name:
            self._moved[given] = max(self._ids) + 1
        call.index = self._moved.get(given, given)
        if call.id:
            self._ids.setdefault(call.index, call.id)


async def _chunks(events: AsyncIterable[bytes]) -> AsyncGenerator[CompletionChunk, None]:
    indexes = _CallIndexes()
    async for event in events:
        try:
            data = json.loads(event.decode())
        except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
            raise BrokenStream("A chunk of the stream is not JSON.") from error
        if isinstance(data, dict) and data.get("error"):
            raise ErrorInStream(data["error"])
        try:
            chunk = CompletionChunk.model_validate(data)
        except ValidationError as error:
            raise BrokenStream(_sentence(error)) from error
        # One answer was asked for. A choice with another index belongs to another answer.
        chunk.choices = [choice for choice in chunk.choices if not choice.index]
        for call in (call for choice in chunk.choices for call in choice.delta.tool_calls or ()):
            indexes.tell_apart(call)
        yield chunk


async def _events(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the data of each event until `[DONE]`; events without data, such as `retry: 1000`, are left out."""
    data: list[bytes] = []
    async for line in _lines(parts):
        if line.startswith(b"data:"):
            data.append(line.removeprefix(b"data:").removeprefix(b" "))
        elif not line and data:
            event, data = b"\n".join(data), []
            if event.startswith(b"[DONE]"):
                with suppress(Exception):
                    async with asyncio.timeout(AFTER_DONE_S):
                        async for _ in parts:
                            pass
                return
            yield event
    if data:
        yield b"\n".join(data)


async def _lines(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the lines; only bytes that end a line for server-sent events do so here."""
    held = bytearray()
    async for part in parts:
        held += part
        if b"\n" not in part and b"\r" not in part:
            continue
        end = len(held) - 1 if held.endswith(b"\r") else len(held)  # the `\n` of a `\r\n` may be in the next part
        *lines, rest = bytes(held[:end]).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        held = bytearray(rest) + held[end:]
        for line in lines:
            yield line
    yield bytes(held)


_REQUIRED = {
    "int_type": "must be an integer",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "missing": "is missing",
}


def _sentence(error: ValidationError) -> str:
    """Say what is wrong with the first field that is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = first["loc"]
    what = "A tool call" if "tool_calls" in where else "A chunk"
    required = _REQUIRED.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    fields = [part for part in where if isinstance(part, str)]
    if not fields:
        return f"{what} in the stream is malformed: it {required}."
    return f"{what} in the stream is malformed: the field `{fields[-1]}` {required}."
