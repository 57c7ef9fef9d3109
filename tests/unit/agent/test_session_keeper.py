from collections.abc import Iterator
from itertools import count

import pytest

from genai_pipeline.agent.sessions import SESSION_ID, Sessions, new_session_id


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions[int]:
    made: Iterator[int] = count()
    return Sessions(lambda: next(made), max_count=2, ttl_s=10, clock=clock)


def value(sessions: Sessions[int], session_id: str) -> int:
    with sessions.use(session_id) as found:
        return found


def test_the_same_id_is_the_same_session_and_another_id_another(sessions: Sessions[int]):
    assert [value(sessions, name) for name in ("a", "b", "a")] == [0, 1, 0]


def test_the_least_recently_used_session_goes_first(sessions: Sessions[int]):
    for name in ("a", "b", "a", "c"):
        value(sessions, name)

    assert len(sessions) == 2
    assert value(sessions, "a") == 0
    assert value(sessions, "b") == 3


def test_an_idle_session_is_forgotten(sessions: Sessions[int], clock: Clock):
    value(sessions, "a")
    clock.now = 10.0
    assert value(sessions, "a") == 0
    clock.now = 20.1
    assert value(sessions, "a") == 1


def test_a_session_in_use_is_never_forgotten(sessions: Sessions[int], clock: Clock):
    with sessions.use("a"):
        clock.now = 100.0
        for name in ("b", "c", "d"):
            value(sessions, name)
        assert value(sessions, "a") == 0


def test_a_session_whose_turn_failed_can_be_forgotten(sessions: Sessions[int], clock: Clock):
    with pytest.raises(ZeroDivisionError), sessions.use("a"):
        raise ZeroDivisionError
    clock.now = 11.0

    assert value(sessions, "a") == 1


def test_session_ids_are_valid_and_do_not_repeat():
    made = {new_session_id() for _ in range(1000)}

    assert len(made) == 1000
    assert all(SESSION_ID.fullmatch(session_id) and len(session_id) == 32 for session_id in made)
