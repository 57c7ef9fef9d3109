"""The service as a process: how it starts, refuses to start, and ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from genai_pipeline.local.ports import free_port
from tests.fakes.scripted_model import Messages, Say, ScriptedModel, text_of

COMMAND = [sys.executable, "-m", "genai_pipeline.agent"]


@contextmanager
def agent_process(model_url: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, once it listens (its log says so), and its address."""
    port = free_port()
    named = {"AGENT_PORT": str(port), "MODEL_BASE_URL": model_url, "MODEL_ID": "scripted"} | env
    process = subprocess.Popen(COMMAND, env=os.environ | named, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "serving" in process.stderr.readline()
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_sigterm_finishes_what_is_under_way_and_refuses_what_is_new():
    entered, go_on = threading.Event(), threading.Event()

    def script(messages: Messages) -> Say:
        if text_of(messages[-1]) == "slow":
            entered.set()
            go_on.wait(30)
        return Say("done")

    with (
        ScriptedModel(script) as model,
        agent_process(model.url) as (process, url),
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=url, timeout=60) as keep_alive,
    ):
        assert keep_alive.get("/healthz").status_code == 200
        slow = pool.submit(httpx.post, f"{url}/agent", json={"prompt": "slow"}, timeout=60)
        assert entered.wait(60)
        process.send_signal(signal.SIGTERM)
        refused = keep_alive.post("/agent", json={"prompt": "new"})
        while refused.status_code == 200:  # the signal is handled when the process gets to it
            refused = keep_alive.post("/agent", json={"prompt": "new"})
        assert process.poll() is None
        go_on.set()

        assert slow.result().json()["response"] == "done"
        assert process.wait(timeout=10) == 0
    assert refused.json()["error"]["code"] == "shutting_down"


def test_sigterm_does_not_wait_for_ever():
    entered = threading.Event()

    def script(messages: Messages) -> Say:
        entered.set()
        return Say("late", wait_s=30)

    with (
        ScriptedModel(script) as model,
        agent_process(model.url, AGENT_DRAIN_DEADLINE_S="0.2") as (process, url),
        ThreadPoolExecutor(1) as pool,
    ):
        late = pool.submit(httpx.post, f"{url}/agent", json={"prompt": "Hi"}, timeout=60)
        assert entered.wait(60)
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=10) == 0
        assert (late.result().status_code, late.result().json()["error"]["code"]) == (503, "shutting_down")


def test_bad_settings_are_reported_without_a_traceback():
    env = os.environ | {"AGENT_PORT": "http", "MODEL_PROVIDER": "azure"}
    ended = subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "The agent cannot start:",
        "AGENT_PORT='http': must be a positive whole number.",
        "MODEL_PROVIDER='azure': must be 'openai' or 'bedrock'.",
    ]


def test_a_taken_port_is_reported_without_a_traceback():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = os.environ | {"AGENT_PORT": str(taken.getsockname()[1])}
        ended = subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert "cannot listen on 127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_that_cannot_hold_sessions_is_reported_without_a_traceback(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    env = os.environ | {"AGENT_PORT": str(free_port()), "AGENT_SESSIONS": f"file:{tmp_path}/file/sessions"}
    ended = subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert "The agent cannot store sessions in file:" in ended.stderr
    assert "Set AGENT_SESSIONS." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_service_that_still_starts_is_alive_not_ready_and_answers_when_it_can():
    with ScriptedModel(lambda _: Say("done")) as model, agent_process(model.url) as (_, url):
        alive = httpx.get(f"{url}/healthz", timeout=60)
        ready = httpx.get(f"{url}/readyz", timeout=60)
        answer = httpx.post(f"{url}/agent", json={"prompt": "Hi"}, timeout=60)

    assert alive.status_code == 200
    assert ready.status_code == 200 or ready.json()["reason"] == "The service is starting."
    assert answer.json()["response"] == "done"


def test_what_listens_is_there_before_what_takes_long_to_import():
    seen = "sorted({'strands', 'openai', 'boto3', 'botocore', 'mcp'} & set(sys.modules))"
    code = f"import sys, genai_pipeline.agent.server; print({seen})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")
