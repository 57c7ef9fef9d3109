"""Sessions in memory: whose they are, how long they stay, and what goes when they grow."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.sessions.ids import SESSION_ID, new_session_id, owner_mark
from genai_pipeline.agent.sessions.keeper import Sessions, TurnOutcome
from genai_pipeline.agent.sessions.session_errors import NoSession, TurnTooLarge
from genai_pipeline.agent.sessions.session_record import SessionLimits
from genai_pipeline.agent.turn_events import ToolUse, Turn
from tests.fakes.hand_clock import HandClock


def said(text: str, size: int = 10, forgotten: int = 0) -> TurnOutcome:
    messages = [{"role": "user", "content": [{"text": text}]}, {"role": "assistant", "content": [{"text": text}]}]
    return TurnOutcome(Turn(text), messages, forgotten, size)


async def turn(sessions: Sessions, session_id: str, text: str, owner: str = "", **more: Any) -> list[str]:
    """One turn; what was said before it."""
    async with sessions.use(session_id, owner) as session:
        before = [m["content"][0]["text"] for m in session.history if m["role"] == "user"]
        await sessions.keep(session, said(text, **more))
        return before


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_000_000.0)


@pytest.fixture
def sessions(clock: HandClock) -> Sessions:
    return Sessions(object, SessionLimits(max_count=2, ttl_s=10, max_bytes=100, max_messages=6), clock=clock)


def run(test: Callable[[], Awaitable[Any]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # pyright: ignore[reportArgumentType]


def test_the_same_id_is_the_same_session_and_another_id_another(sessions: Sessions):
    async def test():
        assert await turn(sessions, "a", "1") == []
        assert await turn(sessions, "b", "2") == []
        assert await turn(sessions, "a", "3") == ["1"]

    run(test)


def test_the_least_recently_used_session_goes_first(sessions: Sessions):
    async def test():
        for name in ("a", "b", "a", "c"):
            await turn(sessions, name, name)
        assert len(sessions) == 2
        assert await turn(sessions, "a", "?") == ["a", "a"]
        assert await turn(sessions, "b", "?") == []

    run(test)


def test_an_idle_session_is_forgotten(sessions: Sessions, clock: HandClock):
    async def test():
        await turn(sessions, "a", "1")
        clock.now += 10
        assert await turn(sessions, "a", "2") == ["1"]
        clock.now += 10.1
        with pytest.raises(NoSession):
            await sessions.view("a", "")
        assert await turn(sessions, "a", "3") == []

    run(test)


def test_a_session_in_use_is_never_forgotten(sessions: Sessions, clock: HandClock):
    async def test():
        await turn(sessions, "a", "1")
        async with sessions.use("a", "") as session:
            clock.now += 100
            for name in ("b", "c", "d"):
                await turn(sessions, name, name)
            await sessions.keep(session, said("2"))
        assert await turn(sessions, "a", "3") == ["1", "2"]

    run(test)


def test_a_turn_that_fails_leaves_nothing_and_the_next_one_goes_on(sessions: Sessions):
    async def test():
        await turn(sessions, "a", "1")
        with pytest.raises(ZeroDivisionError):
            async with sessions.use("a", ""):
                raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError):
            async with sessions.use("new", ""):
                raise ZeroDivisionError
        assert await turn(sessions, "a", "2") == ["1"]
        with pytest.raises(NoSession):
            await sessions.view("new", "")
        assert len(sessions) == 1

    run(test)


def test_requests_of_one_session_keep_their_order_also_when_one_in_line_gives_up(sessions: Sessions):
    async def test():
        go_on = asyncio.Event()

        async def first() -> None:
            async with sessions.use("a", "") as session:
                await go_on.wait()
                await sessions.keep(session, said("1"))

        under_way = asyncio.create_task(first())
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(turn(sessions, "a", str(i))) for i in (2, 3, 4)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        assert await turn(sessions, "b", "other") == []
        go_on.set()
        await under_way
        assert await waiting[0] == ["1"]
        assert await waiting[2] == ["1", "2"]

    run(test)


def test_the_oldest_turns_go_when_a_session_has_too_many_messages_or_bytes(sessions: Sessions):
    async def test():
        for i in range(5):
            await turn(sessions, "many", str(i))
        assert await turn(sessions, "many", "5") == ["2", "3", "4"]
        for i in range(4):
            await turn(sessions, "large", str(i), size=45)
        assert await turn(sessions, "large", "4", size=90) == ["2", "3"]
        assert await turn(sessions, "large", "5") == ["4"]

    run(test)


def test_what_the_model_could_not_take_goes_as_well(sessions: Sessions):
    async def test():
        for i in range(3):
            await turn(sessions, "a", str(i))
        await turn(sessions, "a", "3", forgotten=4)
        assert await turn(sessions, "a", "4") == ["2", "3"]

    run(test)


def test_a_turn_larger_than_a_session_is_refused_and_leaves_no_trace(sessions: Sessions):
    async def test():
        await turn(sessions, "a", "1")
        with pytest.raises(TurnTooLarge, match=r"101 bytes.*100"):
            await turn(sessions, "a", "2", size=101)
        assert await turn(sessions, "a", "3") == ["1"]

    run(test)


def test_a_session_is_its_owners_alone(sessions: Sessions):
    async def test():
        await turn(sessions, "a", "secret", owner="me")
        for attempt in (turn(sessions, "a", "?", owner="you"), sessions.view("a", "you"), sessions.delete("a", "")):
            with pytest.raises(NoSession):
                await attempt
        assert await turn(sessions, "a", "mine", owner="me") == ["secret"]
        await sessions.delete("a", "me")
        assert await turn(sessions, "a", "now mine", owner="you") == []

    run(test)


def test_a_deleted_session_begins_again(sessions: Sessions):
    async def test():
        await turn(sessions, "a", "1")
        await sessions.delete("a", "")
        with pytest.raises(NoSession):
            await sessions.delete("a", "")
        assert await turn(sessions, "a", "2") == []

    run(test)


def test_a_conversation_can_be_read(sessions: Sessions, clock: HandClock):
    messages: list[Any] = [
        {"role": "user", "content": [{"text": "Weather?"}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c0", "name": "get_weather", "input": {"a": 1}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c0", "status": "error", "content": []}}]},
        {"role": "assistant", "content": [{"text": "None."}]},
    ]

    async def test():
        async with sessions.use("a", "") as session:
            use = ToolUse("get_weather", {"a": 1}, "error", 12.5)
            await sessions.keep(session, TurnOutcome(Turn("None.", [use]), messages, 0, 50))
        seen = await sessions.view("a", "")
        assert (seen["created"], seen["expires"]) == ("1970-01-12T13:46:40.000Z", "1970-01-12T13:46:50.000Z")
        tools = [{"name": "get_weather", "arguments": {"a": 1}, "status": "error", "ms": 12.5}]
        assert seen["turns"] == [
            {"at": "1970-01-12T13:46:40.000Z", "prompt": "Weather?", "response": "None.", "tools": tools}
        ]

    run(test)


def test_session_ids_are_valid_and_do_not_repeat():
    made = {new_session_id() for _ in range(1000)}

    assert len(made) == 1000
    assert all(SESSION_ID.fullmatch(session_id) and len(session_id) == 32 for session_id in made)


def test_an_owners_mark_tells_neither_the_key_nor_that_two_sessions_have_the_same_owner():
    marks = {owner_mark("session-1", "key"), owner_mark("session-2", "key"), owner_mark("session-1", "other")}

    assert len(marks) == 3
    assert not any("key" in mark for mark in marks)
    assert owner_mark("session-1", "") == ""


def test_all_errors_of_sessions_are_reported_to_the_caller():
    assert issubclass(NoSession, AgentError)
    assert (NoSession().status, TurnTooLarge(2, 1).status) == (404, 413)
