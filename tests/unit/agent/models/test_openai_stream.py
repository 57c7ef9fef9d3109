"""The chunks of a streamed completion: how they may be cut, and what is said when one is malformed."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from genai_pipeline.agent.models.completion_failures import BrokenStream
from genai_pipeline.agent.models.openai_stream import CompletionChunk, read_chunks


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode()


def read(*parts: bytes) -> list[CompletionChunk]:
    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async def all_chunks() -> list[CompletionChunk]:
        return [chunk async for chunk in read_chunks(body(), 5)]

    return asyncio.run(all_chunks())


def said(chunks: list[CompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_an_answer_may_be_cut_anywhere(line_end: bytes):
    whole = event({"content": "a\u2028b"}) + b": ping\n\nretry: 1000\n\n" + event({"content": "Zürich"}, "stop")
    whole = (whole + b"data: [DONE]\n\n").replace(b"\n", line_end)

    for cut in range(len(whole)):
        assert said(read(whole[:cut], whole[cut:])) == "a\u2028bZürich"


def test_the_lines_of_one_event_belong_together():
    assert said(read(b'data: {"choices": [{"delta": {"content": "Hi"},\ndata:  "finish_reason": "stop"}]}\n\n')) == "Hi"


@pytest.mark.parametrize(
    ("delta", "sentence"),
    [
        (
            {"tool_calls": [{"index": "first", "function": {}}]},
            "A tool call in the stream is malformed: the field `index` must be an integer.",
        ),
        (
            {"tool_calls": [{"index": 0}]},
            "A tool call in the stream is malformed: the field `function` is missing.",
        ),
        ({"tool_calls": "all"}, "A tool call in the stream is malformed: the field `tool_calls` must be a list."),
        ({"content": ["Hi"]}, "A chunk in the stream is malformed: the field `content` must be a string."),
    ],
)
def test_an_error_names_the_field_and_what_is_allowed(delta: dict[str, Any], sentence: str):
    with pytest.raises(BrokenStream) as error:
        read(event(delta))

    assert str(error.value) == sentence


def test_a_finish_reason_that_is_unknown_is_named_with_the_known_ones():
    with pytest.raises(BrokenStream, match=r"`finish_reason` must be one of stop, .*, not 'banana'"):
        read(event({}, "banana"))


def test_a_stream_without_a_finish_reason_is_never_a_whole_answer():
    with pytest.raises(BrokenStream, match="ended before the answer did"):
        read(event({"content": "Half of an"}), b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome</html>",
        b'{"choices": []}',
        b"data: [DONE]\n\n",
        b"data: {broken\n\n",
        b"data: \xff\xfe\n\n",
        b"data: 5\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"choices": "many"}\n\n',
        b'data: {"choices": [null]}\n\n',
        b'data: {"choices": []}\n\ndata: {"choices": []}\n\n',
        b'data: {"choices": [{"delta": null}]}\n\n',
        b'data: {"choices": [{"delta": "Hi"}]}\n\n',
        event({"tool_calls": [None]}),
        event({"tool_calls": [{"index": 0, "function": {"arguments": 7}}]}),
        b'data: {"choices": [{"delta": {}, "finish_reason": 7}]}\n\n',
    ],
)
def test_a_body_that_is_not_a_whole_answer_is_never_taken_for_one(body: bytes):
    with pytest.raises(BrokenStream):
        read(body)
