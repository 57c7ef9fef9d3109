import httpx
import pytest

from genai_pipeline.gateways.bounded_body import MinimumRate, TooSlow, whole_within


class Clock:
    now = 0.0

    def __call__(self):
        return self.now

    def pass_by(self, seconds, returned=b"x"):
        self.now += seconds
        return returned


def test_a_body_that_comes_too_slowly_is_broken_off_after_the_grace_time():
    clock = Clock()
    rate = MinimumRate(10, bytes_per_s=1, clock=clock)
    for _ in range(2):
        assert rate.read(lambda: clock.pass_by(5)) == b"x"
    with pytest.raises(TooSlow, match="3 bytes in 15 s"):
        rate.read(lambda: clock.pass_by(5))


def test_a_fast_body_and_the_end_of_a_slow_one_are_read():
    clock = Clock()
    rate = MinimumRate(10, bytes_per_s=1, clock=clock)
    assert rate.read(lambda: clock.pass_by(20, b"x" * 20))
    assert rate.read(lambda: clock.pass_by(100, b"")) == b""


def test_time_that_the_reader_takes_for_itself_does_not_count():
    clock = Clock()
    rate = MinimumRate(10, bytes_per_s=1, clock=clock)
    for _ in range(10):
        assert rate.read(lambda: clock.pass_by(1))
        clock.pass_by(1000)


class Parts(httpx.SyncByteStream):
    def __init__(self, clock, each_s):
        self._clock, self._each_s = clock, each_s

    def __iter__(self):
        for _ in range(5):
            yield self._clock.pass_by(self._each_s)


@pytest.mark.parametrize(("each_s", "whole"), [(1, True), (3, False)])
def test_an_answer_must_be_whole_in_time_counted_from_its_request(each_s, whole):
    clock = Clock()

    def answer(request):
        clock.pass_by(4)
        return httpx.Response(200, stream=Parts(clock, each_s))

    client = httpx.Client(transport=httpx.MockTransport(answer), event_hooks=whole_within(10, clock))
    if whole:
        assert client.get("http://engine/").content == b"xxxxx"
    else:
        with pytest.raises(httpx.ReadTimeout, match="10 s"):
            client.get("http://engine/")
