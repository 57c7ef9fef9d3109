"""Asking a real server for what an engine compiled, whole or in any state of disrepair."""

import json
import logging

import pytest

from genai_pipeline.core.compile_cache import Reason
from genai_pipeline.core.errors import EngineUnavailable, NotFound, Refused
from genai_pipeline.gateways.inference.compile_cache_client import pull_compile_cache
from genai_pipeline.gateways.inference.openai import OpenAIInference
from tests.fakes.compiled import MADE_WITH, PackingServer, archive

TOKEN = "secret-token"
SAID = {"reason": "hit", "why": "restored", "bytes": 9, "seconds": 0.4, "sha256": "d" * 64}


def pulled(engine, deadline_s=20.0, **limits):
    body = bytearray()
    found = pull_compile_cache(engine.url, TOKEN, body.extend, deadline_s, **limits)
    return found, bytes(body)


def test_an_archive_comes_whole_with_the_versions_that_made_it():
    with PackingServer(body=archive()) as engine:
        found, body = pulled(engine)
    assert (body, found.made_with, found.nothing) == (archive(), MADE_WITH, "")


def test_what_was_restored_is_read():
    with PackingServer(said=json.dumps(SAID).encode()) as engine:
        said = OpenAIInference(engine.url).restored(TOKEN)
    assert (said.reason, said.seconds, said.sha256) == (Reason.HIT, 0.4, "d" * 64)


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_the_token_an_engine_has_no_such_paths(token):
    with PackingServer(said=b"{}", body=archive()) as engine:
        assert OpenAIInference(engine.url).restored(token) is None
        with pytest.raises(NotFound):
            pull_compile_cache(engine.url, token, lambda _: None, 20)


def test_an_engine_that_compiled_nothing_says_why():
    with PackingServer(status=204, headers={"X-Genai-Reason": "eager", "Content-Length": ""}) as engine:
        assert pulled(engine)[0].nothing == "eager"


@pytest.mark.parametrize(
    "broken",
    [
        {"status": 409},
        {"status": 500},
        {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
        {"length": 10**6},
        {"headers": {"X-Genai-Made-With": ""}},
        {"headers": {"X-Genai-Made-With": "vllm"}},
        {"headers": {"X-Genai-Made-With": '{"vllm": 1}'}},
        {"headers": {"Content-Length": ""}, "length": -1},
    ],
    ids=["packs", "broken", "redirect", "torn", "no versions", "no json", "no texts", "no length"],
)
def test_what_does_not_come_whole_is_an_engine_without_an_answer(broken):
    with PackingServer(body=archive(), **broken) as engine, pytest.raises(EngineUnavailable):
        pulled(engine)


def test_an_engine_that_stalls_is_given_up_at_the_deadline():
    with PackingServer(body=archive(), stalls_after=100) as engine, pytest.raises(EngineUnavailable, match=r"0\.2 s"):
        pulled(engine, deadline_s=0.2)


def test_an_archive_that_is_too_large_is_refused_before_it_is_read():
    with PackingServer(body=archive(), length=10**12, stalls_after=0) as engine, pytest.raises(Refused):
        pulled(engine)


def test_an_engine_that_is_away_is_named():
    with PackingServer() as engine:
        url = engine.url
    with pytest.raises(EngineUnavailable, match=url):
        OpenAIInference(url).restored(TOKEN)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{}",
        b"[]",
        b'{"reason": "hit", "why": "", "bytes": "x", "seconds": 0, "sha256": ""}',
        b'{"reason": "other", "why": "", "bytes": 1, "seconds": 0, "sha256": ""}',
    ],
)
def test_an_answer_that_is_none_is_an_error(said):
    with PackingServer(said=said) as engine, pytest.raises(EngineUnavailable):
        OpenAIInference(engine.url).restored(TOKEN)


def test_the_token_is_in_no_log_and_in_no_error(caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    with PackingServer(body=archive(), length=10**6) as engine, pytest.raises(EngineUnavailable) as error:
        pulled(engine)
    assert TOKEN not in caplog.text + str(error.value)
