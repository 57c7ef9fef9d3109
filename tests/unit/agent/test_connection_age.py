"""A kept connection is given up once it is old, and what nobody uses is forgotten."""

import pytest

from genai_pipeline.agent.connection_age import FORGOTTEN_AFTER_S, MOST_S, ConnectionAges

ONE, OTHER = ("10.0.0.1", 4000), ("10.0.0.1", 4001)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ages(clock):
    return ConnectionAges(clock)


def test_a_connection_is_closed_by_the_first_answer_after_its_time_and_not_before(ages, clock):
    assert not ages.is_old(ONE)
    clock.now = MOST_S / 2
    assert not ages.is_old(OTHER)
    clock.now = MOST_S
    assert ages.is_old(ONE)
    assert not ages.is_old(OTHER)


def test_the_next_connection_of_the_same_end_begins_again(ages, clock):
    ages.is_old(ONE)
    clock.now = MOST_S
    assert ages.is_old(ONE)

    assert not ages.is_old(ONE)


def test_what_is_not_used_any_more_is_forgotten(ages, clock):
    for port in range(100):
        ages.is_old(("10.0.0.1", port))
    clock.now = FORGOTTEN_AFTER_S

    assert not ages.is_old(("10.0.0.1", 1))
    assert len(ages) == 1


def test_a_connection_without_a_known_end_is_kept(ages):
    assert not ages.is_old(None)
