"""The checks of one completion: what cannot be used ends in an error, and no tool is called."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from genai_pipeline.agent.models.completion import CompletionReader
from genai_pipeline.agent.models.completion_failures import UnusableAnswer

Event = dict[str, Any]
UTC = '{"timezone": "UTC"}'


def call(name: Any, arguments: str) -> list[Event]:
    return [
        {"contentBlockStart": {"start": {"toolUse": {"name": name, "toolUseId": "call1"}}}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": arguments}}}},
        {"contentBlockStop": {}},
    ]


def text(words: str) -> list[Event]:
    return [{"contentBlockDelta": {"delta": {"text": words}}}]


def stop(reason: str = "tool_use") -> list[Event]:
    return [{"messageStop": {"stopReason": reason}}]


def read(*events: Event) -> list[Event]:
    async def sent() -> AsyncIterator[Event]:
        for event in events:
            yield event

    async def passed_on() -> list[Event]:
        return [event async for event in CompletionReader(max_chars=50_000).read(sent())]

    return asyncio.run(passed_on())


@pytest.mark.parametrize(
    "events",
    [
        [*text(" \n"), *stop("end_turn")],
        stop("end_turn"),
        stop(),
        [*call("get_current_time", "UTC, please"), *stop()],
        [*call("get_current_time", '{"timezone": "U'), *stop()],
        [*call("get_current_time", '["UTC"]'), *stop()],
        [*call("get_current_time", '{"timezone": NaN}'), *stop()],
        [*call("get_current_time", '{"n": 1e999}'), *stop()],
        [*call("get_current_time", '{"n": "\\ud800"}'), *stop()],
        [*call("get_\ud800", UTC), *stop()],
        [*call(None, UTC), *stop()],
        [*call("x" * 10_000, UTC), *stop()],
        [*call("get_current_time", UTC) * 33, *stop()],
        [*text("x" * 50_001), *stop("end_turn")],
    ],
)
def test_an_answer_that_cannot_be_used_is_refused(events: list[Event]):
    with pytest.raises(UnusableAnswer):
        read(*events)


def test_a_call_is_passed_on_when_it_is_whole():
    begin, arguments, end = call("get_current_time", UTC)
    half = {"contentBlockDelta": {"delta": {"toolUse": {"input": UTC[:5]}}}}
    rest = {"contentBlockDelta": {"delta": {"toolUse": {"input": UTC[5:]}}}}

    assert read(begin, half, rest, end, *stop()) == [begin, arguments, end, *stop()]
