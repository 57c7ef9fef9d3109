import re
from types import SimpleNamespace

import pytest

from genai_pipeline.core.errors import ChecksumMismatch, GenaiError
from tests.fakes.bad_replies import always, times
from tests.fakes.tiers import one_per_class
from tests.faults.staging.bad_hub import HUB_REPLIES, HUB_REPLIES_IN_SHORT, SNAPSHOT_REPLIES, SNAPSHOT_REPLIES_IN_SHORT
from tests.faults.staging.bad_s3 import S3_REPLIES, S3_REPLIES_IN_SHORT
from tests.faults.staging.world import REPOSITORY

MOST_REQUESTS = 150
"""Of a stager that gets nothing but one bad reply; an undisturbed one needs about 25."""
LONGEST_WAIT_S = 60.0
SURVIVED_FOR_EVER = {"a completion whose answer is lost", "a manifest whose answer is lost"}


@pytest.fixture
def waits(monkeypatch, small_world):
    """The waits between two attempts, which are noted and not slept."""
    slept = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=slept.append))
    small_world.sleep = slept.append
    return slept


def survives(world):
    world.addresses.stage()
    world.assert_right()
    world.assert_swept()


def gives_up(world, reply):
    """With the right error, after a bounded number of tries, and without a manifest."""
    with pytest.raises(GenaiError) as raised:
        world.addresses.stage()

    assert isinstance(raised.value, reply.error), repr(raised.value)
    assert raised.value.remedy, "the message does not say what to do"
    assert re.search(reply.says, str(raised.value))
    assert world.manifest() is None
    assert len(world.hub.exchanges) + len(world.s3.exchanges) <= MOST_REQUESTS


def waits_are_bounded_and_jittered(waits):
    assert max(waits) <= LONGEST_WAIT_S
    own = [wait for wait in waits if wait != int(wait)]
    assert len(set(own)) == len(own), "two that fail together try again together"


def in_bursts(replies, short):
    """As many in a row as are survived. One of each class by day; nightly all, and one alone too."""
    counts = [(r, n) for r in replies for n in sorted({min(1, r.survived), r.survived}) if n]
    return [pytest.param(r, n, id=f"{r}-{n}", marks=_tier(r, n, short)) for r, n in counts]


def _tier(reply, count, short):
    return () if count == reply.survived and reply.name in short else pytest.mark.nightly


@pytest.mark.parametrize(("reply", "count"), in_bursts(HUB_REPLIES, HUB_REPLIES_IN_SHORT))
def test_bad_replies_of_a_hub_that_pass_are_survived(small_world, waits, reply, count):
    small_world.hub.fault = times(count, reply.fault, reply.which)

    survives(small_world)

    assert 1 <= sum(e.faulty for e in small_world.hub.exchanges) <= count
    sent = [(e.path, e.part) for e in small_world.s3.exchanges if e.part]
    assert reply.error is ChecksumMismatch or len(sent) == len(set(sent)), "it was taken for the file, and sent"
    assert sum(wait >= reply.waits_s for wait in waits) >= (count if reply.waits_s else 0)
    assert all(wait <= LONGEST_WAIT_S for wait in waits)


@pytest.mark.parametrize(
    "reply", one_per_class([r for r in HUB_REPLIES if r.error], HUB_REPLIES_IN_SHORT - {"a body that ends early"})
)
def test_a_hub_that_only_replies_so_is_given_up_with_the_right_error(small_world, waits, reply):
    small_world.hub.fault = always(reply.fault, reply.which)

    gives_up(small_world, reply)


@pytest.mark.parametrize(("reply", "count"), in_bursts(S3_REPLIES, S3_REPLIES_IN_SHORT))
def test_bad_replies_of_an_s3_that_pass_are_survived(small_world, waits, reply, count):
    small_world.s3.fault = times(count, reply.fault, reply.which)

    survives(small_world)

    assert 1 <= sum(e.faulty for e in small_world.s3.exchanges) <= count
    assert all(wait <= LONGEST_WAIT_S for wait in waits)


@pytest.mark.parametrize(
    "reply", one_per_class([r for r in S3_REPLIES if r.error], S3_REPLIES_IN_SHORT - SURVIVED_FOR_EVER)
)
def test_an_s3_that_only_replies_so_is_given_up_with_the_right_error(small_world, waits, reply):
    small_world.s3.fault = always(reply.fault, reply.which)

    gives_up(small_world, reply)

    assert all(wait <= LONGEST_WAIT_S for wait in waits)


@pytest.mark.parametrize("reply", one_per_class(SNAPSHOT_REPLIES, SNAPSHOT_REPLIES_IN_SHORT))
def test_a_hub_that_lists_no_files_is_named(small_world, reply):
    small_world.hub.fault = always(reply.fault, reply.which)

    with pytest.raises(reply.error, match=re.escape(small_world.hub.url)):
        small_world.addresses.hub_gateway().snapshot(REPOSITORY, small_world.revision)


@pytest.mark.parametrize("replies", [HUB_REPLIES, S3_REPLIES])
def test_every_bad_reply_has_a_name_of_its_own_and_something_is_asked_of_it(replies):
    assert len({reply.name for reply in replies}) == len(replies) >= 24
    assert all(reply.error or reply.survived for reply in replies)
