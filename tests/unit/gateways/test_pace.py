import threading

import pytest

from genai_pipeline.gateways.pace import Pace
from tests.fakes.hand_clock import HandClock


def test_a_busy_server_is_asked_half_as_much_and_successes_bring_it_back():
    clock = HandClock(100.0)
    pace = Pace(16, clock)
    pace.busy()
    pace.busy()  # another answer of the same moment
    assert pace.limit == 8
    clock.now += 2
    pace.busy()
    assert pace.limit == 4

    for _ in range(200):
        with pace.turn():
            pass

    assert pace.limit == 16


def test_it_never_stops_altogether():
    clock = HandClock(100.0)
    pace = Pace(4, clock)
    for _ in range(10):
        clock.now += 2
        pace.busy()
    with pace.turn():
        assert pace.limit == 1


def test_a_request_that_failed_is_no_success():
    pace = Pace(8, HandClock(100.0))
    pace.busy()
    with pytest.raises(OSError, match="down"), pace.turn():
        raise OSError("down")
    assert pace.limit == 4


def test_one_more_than_the_limit_waits_for_its_turn():
    pace = Pace(1)
    entered = threading.Event()

    def second():
        with pace.turn():
            entered.set()

    with pace.turn():
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.wait(0.1)
    assert entered.wait(10)
    waiting.join(10)
