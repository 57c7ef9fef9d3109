"""Traces to a real OTLP receiver on loopback, from the service as a process: what they hold, and what they do not."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from genai_pipeline.local.ports import free_port
from tests.fakes.wild_model import Talk, WildModel, call, delta, text

PROMPT, ANSWER, ARGUMENT, TOOL = "prompt-7f3a", "answer-9b1c", "argument-2d4e", "made-up-tool-5c6d"
RELEASE = "0123456789ab-cdef01"
SESSION = "a-session-id-of-my-own"


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)  # pyright: ignore[reportAttributeAccessIssue]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@contextmanager
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.bodies = bodies = []  # pyright: ignore[reportAttributeAccessIssue]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def behave(talk: Talk) -> None:
    if talk.answers_a_tool:
        talk.stream(text(ANSWER), delta("stop"))
    else:
        arguments = f'{{"timezone": "{ARGUMENT}"}}'
        calls = [call(name, arguments, f"c{i}", i) for i, name in enumerate(("get_current_time", TOOL))]
        talk.stream(*calls, delta("tool_calls"))


def traced(endpoint: str, **env: str) -> tuple[httpx.Response, str]:
    """Ask one question of a service of its own, end it, and return its answer and its log."""
    port = str(free_port())
    with WildModel(behave) as model:
        named = {"AGENT_PORT": port, "MODEL_BASE_URL": model.url, "MODEL_ID": "scripted", "RELEASE_ID": RELEASE}
        command = [sys.executable, "-m", "genai_pipeline.agent"]
        process = subprocess.Popen(
            command,
            env=os.environ | named | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} | env,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            while "serving" not in (line := process.stderr.readline()):
                assert line, "it ended before it served"
            asked = {"prompt": PROMPT, "session_id": SESSION}
            answer = httpx.post(f"http://127.0.0.1:{port}/agent", json=asked, timeout=90)
            process.send_signal(signal.SIGTERM)
            return answer, process.communicate(timeout=60)[1]
        finally:
            process.kill()


def spans_of(bodies: list[bytes]) -> tuple[list[Any], dict[str, str]]:
    resources = [r for body in bodies for r in ExportTraceServiceRequest.FromString(body).resource_spans]
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    return spans, {a.key: a.value.string_value for a in resources[0].resource.attributes}


def test_traces_name_release_session_and_model_and_hold_nothing_of_what_is_said():
    with receiver() as (endpoint, bodies):
        traced(endpoint)

    spans, resource = spans_of(bodies)
    assert (resource["service.name"], resource["release.id"]) == ("strands-agent", RELEASE)
    names = {span.name for span in spans}
    assert {"chat", "execute_tool get_current_time", "execute_tool unknown"} <= names
    attributes = [{a.key: a.value for a in span.attributes} for span in spans]
    ours = [a for a in attributes if "session.id" in a]
    assert len(ours) >= 5
    assert {(a["session.id"].string_value, a["release.id"].string_value) for a in ours} == {(SESSION, RELEASE)}
    assert any(a["gen_ai.usage.input_tokens"].int_value == 9 for a in attributes if "gen_ai.usage.input_tokens" in a)
    assert {a["gen_ai.response.model"].string_value for a in attributes if "gen_ai.response.model" in a} == {"scripted"}
    everything = b"".join(bodies)
    for said in (PROMPT, ANSWER, ARGUMENT, TOOL, "helpful assistant", "unknown time zone"):
        assert said.encode() not in everything


def test_prompts_are_exported_where_that_is_asked_for():
    with receiver() as (endpoint, bodies):
        _, log = traced(endpoint, AGENT_TRACE_PROMPTS="true")

    everything = b"".join(bodies)
    for said in (PROMPT, ANSWER, ARGUMENT, TOOL):
        assert said.encode() in everything
    assert "prompts, answers and tool arguments are exported" in log


def test_a_receiver_that_is_away_costs_no_one_an_answer():
    answer, log = traced("http://127.0.0.1:9")

    assert (answer.status_code, answer.json()["response"]) == (200, ANSWER)
    assert "Connection refused" in log, "nothing was exported"


def test_without_an_endpoint_nothing_is_set_up(monkeypatch: pytest.MonkeyPatch):
    from genai_pipeline.agent.settings import Settings
    from genai_pipeline.agent.tracing import ENDPOINT_VARIABLES, Tracing

    for name in ENDPOINT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    tracing = Tracing.begin(Settings(release_id="r"))

    assert tracing._provider is None
    assert tracing.attributes("s") == {"session.id": "s", "release.id": "r"}
    tracing.end()
