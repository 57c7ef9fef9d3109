"""Neither token nor keys nor signed addresses are told to anybody, whatever happens and however much is asked."""

import re

import pytest

from tests.fakes.bad_replies import always, answer, asks, dropped, redirect, s3_error, times
from tests.fakes.exchange import Exchange
from tests.faults.staging.child import StagerProcess
from tests.faults.staging.world import TOKEN, World

SIGNED = asks("GET", r"^/cdn/")
RESOLVED = asks("GET", r"/resolve/.*safetensors$")
PART = asks("PUT", partNumber="")
SIGNATURE = "feedc0defeedc0de"


def _signed_nowhere(exchange: Exchange) -> str:
    return f"http://[nowhere/?Signature={SIGNATURE}"


HUB_TROUBLE = {
    "nothing": None,
    "signed addresses that break off": times(3, dropped, SIGNED),
    "signed addresses that are refused": always(answer(403), SIGNED),
    "signed addresses that fail": always(answer(500), SIGNED),
    "signed addresses that redirect for ever": always(redirect(lambda e: e.target), SIGNED),
    "signed addresses that are none": always(redirect(_signed_nowhere), RESOLVED),
    "signed addresses of nobody": always(redirect(f"http://127.0.0.1:9/?Signature={SIGNATURE}"), RESOLVED),
    "a token that is refused": always(answer(401, {"X-Error-Message": f"{TOKEN} is not known"}), RESOLVED),
}
S3_TROUBLE = {
    "a signature that does not match": always(s3_error(403, "SignatureDoesNotMatch"), PART),
    "a store that is away": always(dropped, PART),
}


def secrets(world: World) -> re.Pattern[str]:
    mine = [TOKEN, world.addresses.secret_key, SIGNATURE]
    shapes = [
        r"Signature=\w{8}",
        r"X-Amz-Signature",
        r"X-Amz-Credential",
        r"AWS4-HMAC-SHA256 Credential",
        r"Bearer \w+",
    ]
    return re.compile("|".join([*map(re.escape, mine), *shapes]))


def assert_kept(world: World, told: str) -> None:
    found = secrets(world).search(told)
    assert not found, f"told: …{told[max(0, found.start() - 300) : found.end() + 40]}…"


def everything_stored(world: World) -> str:
    """All but the model's own files."""
    keys = world.stored() - {world.prefix + path for path in world.content}
    bodies = [world.server.get_object(Bucket=world.bucket, Key=key)["Body"].read().decode() for key in keys]
    return "\n".join([*keys, *bodies])


@pytest.mark.parametrize("hub_trouble", HUB_TROUBLE)
def test_a_stager_in_trouble_with_its_hub_tells_no_secret(small_world, tmp_path, hub_trouble):
    small_world.hub.fault = HUB_TROUBLE[hub_trouble] or (lambda _: None)
    stager = StagerProcess(small_world.addresses, tmp_path, talkative=True).start()

    stager.ended()

    assert any(e.head.get("Authorization") == f"Bearer {TOKEN}" for e in small_world.hub.exchanges), (
        "no secret was at work"
    )
    assert "DEBUG" in stager.words, "the logs are not there"
    assert_kept(small_world, stager.words + everything_stored(small_world))


@pytest.mark.parametrize("s3_trouble", S3_TROUBLE)
def test_a_stager_in_trouble_with_its_store_tells_no_secret(small_world, tmp_path, s3_trouble):
    small_world.s3.fault = S3_TROUBLE[s3_trouble]
    stager = StagerProcess(small_world.addresses, tmp_path, talkative=True).start()

    assert stager.ended() != 0

    assert "Traceback" in stager.words
    assert_kept(small_world, stager.words + everything_stored(small_world))


def test_a_stager_that_crashes_tells_no_secret(small_world, tmp_path):
    stager = StagerProcess(small_world.addresses, tmp_path, "staging.before_manifest:exception", talkative=True).start()

    assert stager.ended() != 0

    assert "Traceback" in stager.words
    assert_kept(small_world, stager.words + everything_stored(small_world))


def test_the_search_finds_what_it_looks_for(small_world):
    told = f"DEBUG:httpx:GET http://127.0.0.1/cdn/x?Expires=1&Signature={'ab' * 32}"

    with pytest.raises(AssertionError, match="told"):
        assert_kept(small_world, told)
    for secret in (TOKEN, small_world.addresses.secret_key, "Authorization: Bearer abc"):
        with pytest.raises(AssertionError):
            assert_kept(small_world, secret)
