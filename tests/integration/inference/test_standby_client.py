"""The door of an engine that sleeps: the client against the middlewares of a pod, on the server that vLLM has."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.standby import measure
from genai_pipeline.core.errors import EngineUnavailable, NotFound
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.k8s.engine import MIDDLEWARES, POD_FILES, SLEEPING
from genai_pipeline.k8s.standby_pod import SLEEPING_MIDDLEWARE
from genai_pipeline.local.ports import free_port
from tests.fakes.demo_engines import wait_for
from tests.fakes.openai_server import FakeEngine

FAKES = Path(__file__).parents[2] / "fakes"


@pytest.fixture
def start(tmp_path):
    running = []

    def start(**env):
        for file in (*POD_FILES, SLEEPING):
            (tmp_path / file.name).write_text(file.source)
        url = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, FAKES / "openai_server.py", "--port", url.rpartition(":")[2]]
        around = ("sleeping_engine.SleepMode", *MIDDLEWARES, SLEEPING_MIDDLEWARE)
        command += ["--served-model-name", "m", *(f"--middleware={m}" for m in around)]
        given = {"PYTHONPATH": f"{tmp_path}:{FAKES}", "VLLM_SERVER_DEV_MODE": "1", "GENAI_PIPELINE_TOKEN": "right"}
        running.append(subprocess.Popen(command, env=os.environ | given | env, cwd=tmp_path))
        wait_for(lambda: get(url, "/v1/models").is_success, 20)
        return url

    yield start
    for process in running:
        process.kill()


@pytest.fixture
def engine(start):
    return start()


def get(url, path):
    return httpx.get(url + path, timeout=10, trust_env=False)


def complete(url):
    body = {"model": "m", "prompt": "Hello", "max_tokens": 2}
    return httpx.post(f"{url}/v1/completions", json=body, timeout=10, trust_env=False)


def door_of(url, token="right"):
    return OpenAIInference(url).standby(token)


def test_an_engine_sleeps_and_wakes_and_users_never_wait_for_it(engine):
    door = door_of(engine)
    known = door.known_answer("m")

    door.sleep(10)
    assert door.is_sleeping()
    assert [complete(engine).status_code, get(engine, "/genai/ready").status_code] == [503, 503]
    assert get(engine, "/health").is_success

    door.wake_up(10)
    assert door.known_answer("m") == known
    assert complete(engine).status_code == 503
    door.open()
    assert not door.is_sleeping()
    assert [complete(engine).status_code, get(engine, "/genai/ready").status_code] == [200, 200]


def test_an_older_vllm_that_answers_without_a_body_sleeps_and_wakes(start):
    url = start(FAKE_SLEEP="silent")
    door = door_of(url)

    door.sleep(10)
    assert complete(url).status_code == 503
    door.wake_up(10)
    assert door.known_answer("m")


def test_no_known_answer_begins_in_the_prefix_cache_of_the_one_before():
    with FakeEngine("m") as engine:
        for _ in range(2):
            door_of(engine.url).known_answer("m")

    first, second = (request.pop("cache_salt") for request in engine.requests)
    assert first != second
    assert engine.requests[0] == engine.requests[1]


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_its_token_nobody_puts_an_engine_to_sleep(engine, token):
    for ask in (lambda d: d.sleep(5), lambda d: d.wake_up(5), lambda d: d.open(), lambda d: d.is_sleeping()):
        with pytest.raises(NotFound):
            ask(door_of(engine, token))
    assert complete(engine).is_success


def test_a_pod_without_a_token_has_no_such_door(start):
    with pytest.raises(NotFound):
        door_of(start(GENAI_PIPELINE_TOKEN="")).is_sleeping()


@pytest.mark.parametrize("fault", ["fails", "hangs"])
def test_an_engine_that_does_not_fall_asleep_is_an_error_within_the_deadline(start, fault):
    with pytest.raises(EngineUnavailable):
        door_of(start(FAKE_SLEEP=fault)).sleep(1)


def test_an_engine_that_woke_with_other_words_is_seen_by_them(start, tmp_path):
    url = start(FAKE_SLEEP="wrong")
    door = door_of(url)
    known = door.known_answer("m")
    door.sleep(5)
    door.wake_up(5)

    assert door.known_answer("m") != known


def test_the_benchmark_finds_what_is_wrong_and_nothing_else(engine, start):
    found = measure(engine, "right", "m", rounds=2)
    assert found["wrong"] == []
    assert len(found["rounds"]) == 2

    wrong = measure(start(FAKE_SLEEP="wrong"), "right", "m", rounds=1)["wrong"]
    assert len(wrong) == 1
    assert "wrong text" in wrong[0]
