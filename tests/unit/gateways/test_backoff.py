import time
from email.utils import formatdate

from genai_pipeline.gateways.backoff import LONGEST_WAIT_S, backoff_s, retry_after_s


def test_waits_grow_differ_and_end():
    assert len({backoff_s(1, 0.5) for _ in range(20)}) > 1
    assert 1.0 <= backoff_s(2, 0.5) <= 2.0
    assert backoff_s(50, 0.5) <= LONGEST_WAIT_S * 1.25 + 0.5


def test_what_the_server_asks_for_is_waited_and_no_year():
    assert 3.0 <= backoff_s(1, 0.5, 3.0) <= 4.5
    assert backoff_s(1, 0.5, 31536000.0) <= LONGEST_WAIT_S * 1.25 + 0.5


def test_retry_after_is_seconds_or_a_date():
    assert retry_after_s({"Retry-After": "7"}) == 7
    assert 55 <= (retry_after_s({"Retry-After": formatdate(time.time() + 60, usegmt=True)}) or 0) <= 61
    assert retry_after_s({"Retry-After": "soon"}) is None
    assert retry_after_s({}) is None


def test_a_rate_limit_of_which_something_is_left_asks_for_no_wait():
    for left in ('"api";r=12;t=60', '"api";t=60;r=12', "limit=100, remaining=7, reset=50", "remaining=0"):
        assert retry_after_s({"RateLimit": left}) is None
    assert retry_after_s({"RateLimit-Remaining": "3", "RateLimit-Reset": "45"}) is None


def test_a_caller_may_wait_less_long():
    assert backoff_s(50, 0.1, longest_s=2.0) <= 2.0 * 1.25 + 0.1
