"""Servers that take their time, or for ever: a stager goes elsewhere, and ends when it is asked to."""

import signal
import threading

import pytest

from genai_pipeline.core.errors import HubUnavailable
from genai_pipeline.gateways.hub import file_reader
from tests.fakes.bad_replies import always, asks, dripping, large, once, silent
from tests.fakes.proxy_process import ProxyProcess
from tests.faults.staging.child import ENDED_BY_SIGTERM, StagerProcess
from tests.faults.staging.world import Addresses

PROMPTLY_S = 10
HEADERS = asks("GET", r"^/cdn/")
RANGES = large(HEADERS)
PARTS = asks("PUT", partNumber="")
COMPLETIONS = asks("POST", uploadId="")
LISTS = asks("GET", **{"list-type": "2"})


@pytest.fixture
def impatient(monkeypatch):
    """A reader that wants 20 MB/s after a fifth of a second."""
    monkeypatch.setattr(file_reader, "GRACE_S", 0.2)
    monkeypatch.setattr(file_reader, "SLOWEST_BYTES_PER_S", 20_000_000)


def test_a_hub_that_drips_is_asked_again_on_another_connection(small_world, impatient):
    small_world.hub.fault = once(dripping(pieces=40, pause_s=0.1), RANGES)

    small_world.addresses.stage(sleep=lambda _: None)

    small_world.assert_right()
    assert sum(HEADERS(e) for e in small_world.hub.exchanges) > 3


def test_a_hub_that_only_drips_is_given_up(small_world, impatient, monkeypatch):
    monkeypatch.setattr(file_reader, "LONGEST_READ_S", 1.0)
    small_world.hub.fault = always(dripping(pieces=40, pause_s=0.1), RANGES)

    with pytest.raises(HubUnavailable, match="no more than"):
        small_world.addresses.stage(sleep=lambda _: None)

    assert small_world.manifest() is None


@pytest.mark.parametrize(
    ("server", "which"),
    [("hub", HEADERS), ("hub", RANGES), ("s3", PARTS), ("s3", COMPLETIONS), ("s3", LISTS)],
    ids=["headers", "ranges", "parts", "completions", "listings"],
)
def test_a_stager_of_a_server_that_says_nothing_ends_when_it_is_asked_to(small_world, tmp_path, server, which):
    silence, over = threading.Event(), threading.Event()
    proxy = getattr(small_world, server)
    proxy.fault = always(silent(silence, over), which)
    stager = StagerProcess(small_world.addresses, tmp_path).start()
    try:
        assert silence.wait(30), stager.words

        stager.kill(signal.SIGTERM)

        assert stager.ended(PROMPTLY_S) == ENDED_BY_SIGTERM
    finally:
        over.set()
    assert stager.words == ""
    small_world.quiet()
    proxy.fault = lambda _: None
    small_world.addresses.stage()
    small_world.assert_right()


def test_far_away_servers_of_which_one_reply_in_ten_fails_are_survived(small_world, s3_server, hub_server):
    with (
        ProxyProcess(hub_server.url, latency_s=0.02, failing=0.1) as hub,
        ProxyProcess(s3_server.endpoint, latency_s=0.02, failing=0.1, seed=1) as s3,
    ):
        world = small_world.addresses
        Addresses(hub.url, s3.url, world.bucket, world.access_key, world.secret_key, world.revision).stage()

    small_world.assert_right()
    assert small_world.uploads() == []
