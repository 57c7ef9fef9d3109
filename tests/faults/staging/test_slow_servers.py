"""Servers that take their time, or for ever: a stager goes elsewhere, and ends when it is asked to."""

import signal
import threading
from dataclasses import replace

import pytest

from genai_pipeline.core.errors import HubUnavailable, StoreUnavailable
from genai_pipeline.gateways import threads
from genai_pipeline.gateways.hub.file_reader import ReadLimits
from genai_pipeline.staging import stall
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


IMPATIENT = ReadLimits(grace_s=0.2, slowest_bytes_per_s=8_000_000)


def test_a_hub_that_drips_is_asked_again_on_another_connection(small_world):
    small_world.hub.fault = once(dripping(pieces=40, pause_s=0.1), RANGES)

    small_world.addresses.stage(limits=IMPATIENT)

    small_world.assert_right()
    assert sum(HEADERS(e) for e in small_world.hub.exchanges) > 3


def test_a_hub_that_only_drips_is_given_up(small_world):
    small_world.hub.fault = always(dripping(pieces=40, pause_s=0.1), RANGES)

    with pytest.raises(HubUnavailable, match="no more than"):
        small_world.addresses.stage(limits=replace(IMPATIENT, longest_s=1.0))

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


@pytest.mark.parametrize(
    ("server", "which", "error", "says"),
    [
        ("hub", RANGES, HubUnavailable, "Nothing moved for .* the source sends nothing of model-00001"),
        ("s3", PARTS, StoreUnavailable, "Nothing moved for .* the store does not go on with model-00001"),
    ],
    ids=["source", "store"],
)
def test_a_staging_in_which_nothing_moves_any_more_ends_and_says_what_it_waited_for(
    small_world, monkeypatch, server, which, error, says
):
    monkeypatch.setattr(stall, "STALLED_AFTER_S", 0.5)
    monkeypatch.setattr(threads, "ENDING_S", 0.1)
    silence, over = threading.Event(), threading.Event()
    proxy = getattr(small_world, server)
    proxy.fault = always(silent(silence, over), which)
    try:
        with pytest.raises(error, match=says) as raised:
            small_world.addresses.stage()
    finally:
        over.set()

    assert "run this again" in raised.value.remedy
    assert small_world.manifest() is None
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
