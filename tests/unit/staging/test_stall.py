import pytest

from genai_pipeline.core.errors import HubUnavailable, StoreUnavailable
from genai_pipeline.staging.meter import Meter, TransferMethod
from genai_pipeline.staging.stall import STALLED_AFTER_S, StallDetector


class World:
    """A transfer of two files; `now` and `requests` are what the clock and the store say."""

    def __init__(self):
        self.now, self.requests = 0.0, {"PutObject": 0}
        planned = [("a", 10, TransferMethod.STREAMED), ("b", 10, TransferMethod.KEPT)]
        self.meter = Meter("m", "r", planned, requests=lambda: self.requests)
        self.stall = StallDetector(self.meter, lambda: self.now)
        for path, _, how in planned:
            self.meter.begin(path, how)

    def wait(self, seconds=STALLED_AFTER_S + 1):
        self.now += seconds
        self.stall.check()


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize(
    "move",
    [
        lambda w: w.meter.read(1),
        lambda w: w.meter.advance("a", 1),
        lambda w: w.meter.asked_source(),
        lambda w: w.requests.update(PutObject=w.requests["PutObject"] + 1),
    ],
    ids=["a byte came", "a byte was stored", "the source was asked", "the store was asked"],
)
def test_whatever_moves_begins_the_deadline_again(world, move):
    for _ in range(3):
        world.wait(STALLED_AFTER_S * 0.9)
        move(world)
    world.wait(STALLED_AFTER_S * 0.9)


def test_one_that_waits_for_the_store_names_its_files(world):
    with pytest.raises(StoreUnavailable, match="for 10 minutes: the store does not go on with a, b"):
        world.wait()


def test_one_that_waits_for_the_source_names_those_it_reads_and_the_rest(world):
    with (
        world.stall.reading("a"),
        pytest.raises(HubUnavailable, match="sends nothing of a; the store does not go on with b"),
    ):
        world.wait()
