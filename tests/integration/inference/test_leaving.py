"""The engine's middleware in the server that vLLM has, and our question to it."""

import http.client
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.k8s import leaving
from tests.fakes.openai_server import FakeEngine

ENGINE = Path(__file__).parents[2] / "fakes" / "openai_server.py"
ASK = '{"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": %s, "stream": %s}'


@pytest.fixture
def engine(tmp_path, unused_port):
    """A fake engine on uvicorn with the middleware as a pod has it: a file on PYTHONPATH."""
    shutil.copy(leaving.__file__, tmp_path / "genai_leaving.py")
    command = [sys.executable, str(ENGINE), "--port", str(unused_port), "--served-model-name", "m"]
    command += ["--middleware=genai_leaving.Leaving", "--fault=token_s=0.1"]
    env = os.environ | {"PYTHONPATH": str(tmp_path), "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "1"}
    process = subprocess.Popen(command, env=env)
    found = OpenAIInference(f"http://127.0.0.1:{unused_port}")
    try:
        wait_for(lambda: answers(found))
        yield found
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def unused_port():
    with FakeEngine() as other:
        return int(other.url.rsplit(":", 1)[1])


def wait_for(condition, deadline_s=20):
    over = threading.Event()
    timer = threading.Timer(deadline_s, over.set)
    timer.start()
    try:
        while not condition():
            assert not over.wait(0.05), "it did not come true in time"
    finally:
        timer.cancel()


def answers(engine):
    try:
        return engine.models()
    except EngineUnavailable:
        return False


def connected(engine):
    return http.client.HTTPConnection(engine.base_url.removeprefix("http://"), timeout=10)


def ask(connection, words=2, stream="false"):
    connection.request("POST", "/v1/chat/completions", ASK % (words, stream), {"X-Request-Id": "mine"})
    return connection.getresponse()


def test_a_kept_connection_is_closed_by_its_next_answer_once_the_engine_leaves(engine):
    connection = connected(engine)
    before = ask(connection)
    before.read()

    engine.leave()
    after = ask(connection)

    assert before.getheader("Connection") is None
    assert after.getheader("Connection") == "close"
    assert after.status == 200


def test_it_is_drained_only_after_the_last_kept_connection_can_be_used_no_more(engine):
    connection = connected(engine)
    ask(connection).read()

    assert engine.leave().drained is False
    wait_for(lambda: engine.leave().drained)


def test_what_runs_is_named_and_keeps_it_from_being_drained(engine):
    connection = connected(engine)
    response = ask(connection, words=15, stream="true")

    said = engine.leave()

    assert said.drained is False
    assert [r.split(" after ")[0] for r in said.running] == ["/v1/chat/completions mine"]
    assert response.read().rstrip().endswith(b"[DONE]")


def test_the_order_to_stop_is_answered_when_nothing_is_left_to_cut_off(engine):
    response = ask(connected(engine), words=15, stream="true")
    held = connected(engine)

    held.request("GET", "/drain?least=0&most=30")
    told = held.getresponse().read()

    assert b'"drained": true' in told
    assert response.read().rstrip().endswith(b"[DONE]")


def test_the_order_to_stop_waits_no_longer_than_it_may(engine):
    response = ask(connected(engine), words=60, stream="true")
    held = connected(engine)

    held.request("GET", "/drain?least=0&most=1")

    assert b'"drained": false' in held.getresponse().read()
    response.close()


def test_an_engine_without_the_middleware_knows_no_leaving():
    with FakeEngine() as plain:
        assert OpenAIInference(plain.url).leave() is None


def test_an_engine_that_is_gone_is_unavailable(unused_port):
    with pytest.raises(EngineUnavailable, match="/drain"):
        OpenAIInference(f"http://127.0.0.1:{unused_port}").leave()
