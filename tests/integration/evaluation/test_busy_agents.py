"""An agent that says 429 is asked less at a time and asked again; one of before says less and is understood."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genai_pipeline.core.judge_model import JudgeModel
from genai_pipeline.evaluation import agent_client
from genai_pipeline.evaluation.agent_asker import AgentAsker
from genai_pipeline.evaluation.agent_client import AgentClient
from genai_pipeline.evaluation.llm_judge import judge_from
from genai_pipeline.evaluation.reply import NotMeasured
from genai_pipeline.evaluation.runner import RunSettings, run_suite
from genai_pipeline.evaluation.suite_files import load_agent_suite

REPLY = {"response": "Hello", "session_id": "s", "tools": [{"name": "t", "arguments": {}, "status": "success"}]}


class Agent(ThreadingHTTPServer):
    """Takes `room` turns at once, and says 429 to the rest. `reply` is what it answers."""

    daemon_threads = True

    def __init__(self, room: int, reply: dict) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.room, self.reply = threading.Semaphore(room) if room else None, reply
        self.status, self.drips = 200, False
        self.refused, self.answered, self.connections, self.together = 0, 0, set(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Agent

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.connections.add(self.client_address)
        if self.server.room is None or not self.server.room.acquire(blocking=False):
            self.server.refused += 1
            self.server.together.set()
            return self._answer(429, {"error": {"code": "busy", "message": "Too many."}})
        try:
            self.server.together.wait(0.2)  # until somebody else came meanwhile and was refused
            self.server.answered += 1
            return self._answer(200, self.server.reply)
        finally:
            self.server.room.release()

    def _answer(self, status: int, value: dict) -> None:
        body = json.dumps(value).encode()
        self.send_response(self.server.status if status == 200 else status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1] if self.server.drips else body)
        with suppress(OSError):  # it was waited for long enough
            while self.server.drips:
                self.wfile.write(b" ")
                self.wfile.flush()
                self.server.together.wait(0.02)


@contextmanager
def agent(room: int = 99, reply: dict = REPLY) -> Iterator[Agent]:
    server = Agent(room, reply)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_client, "_LONGEST_PAUSE_S", 0.02)


def test_an_agent_that_is_busy_is_asked_again_until_every_case_is_measured():
    whole = load_agent_suite("weather")
    suite = whole.model_copy(update={"cases": whole.cases[:12]})
    with agent(room=1) as busy, AgentClient(busy.url, concurrency=8) as client:
        runs = run_suite(AgentAsker(client, suite), suite, RunSettings(concurrency=8))

    assert busy.refused > 0
    assert client._pace.limit < 8
    assert not [run.problem for run in runs if run.problem]


def test_one_that_is_busy_for_ever_is_not_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agent_client, "BUSY_PATIENCE", 0.002)
    with (
        agent(room=0) as busy,
        AgentClient(busy.url) as client,
        pytest.raises(NotMeasured, match="answered 429: Too many"),
    ):
        client.ask("Hello")


@pytest.mark.parametrize("status", [301, 307, 404, 405])
def test_an_address_that_is_no_agents_is_not_measured(status: int):
    with agent() as other, AgentClient(other.url) as client:
        other.status = status
        other.together.set()
        with pytest.raises(NotMeasured, match=f"is not an agent: it answered {status}"):
            client.ask("Hello")


@pytest.mark.parametrize("reply", [{"response": None}, {"response": 5}, {"tools": [None]}, {"tools": "x"}])
def test_an_answer_of_another_form_is_not_measured(reply: dict):
    with agent(reply=REPLY | reply) as odd, AgentClient(odd.url) as client:
        odd.together.set()
        with pytest.raises(NotMeasured, match="has another form"):
            client.ask("Hello")


def test_an_answer_that_drips_is_not_waited_for_without_end():
    with agent() as slow, AgentClient(slow.url, timeout_s=0.3) as client:
        slow.drips = True
        with pytest.raises(NotMeasured, match=r"did not answer within 0\.3 s"):
            client.ask("Hello")

        judge = judge_from(JudgeModel(model="j", base_url=slow.url, timeout_s=0.1))
        with pytest.raises(NotMeasured, match="the judge did not answer"):
            judge.judge("Is it short?", "?", "Yes.")


def test_whoever_follows_the_progress_can_stop_the_asking():
    class Superseded(Exception):
        """A newer release is asked for."""

    def say(message: str) -> None:
        raise Superseded

    suite = load_agent_suite("weather")
    with agent() as quiet, AgentClient(quiet.url) as client:
        quiet.together.set()
        with pytest.raises(Superseded):
            run_suite(AgentAsker(client, suite), suite, RunSettings(concurrency=2), say)

    assert quiet.answered < 20


def test_connections_are_kept():
    with agent() as quiet, AgentClient(quiet.url) as client:
        quiet.together.set()
        for _ in range(5):
            client.ask("Hello")

    assert len(quiet.connections) == 1


@pytest.mark.parametrize(
    ("more", "cycles", "tokens"),
    [
        ({}, (), (0, 0)),
        ({"usage": None, "cycles": None}, (), (0, 0)),
        ({"usage": {"inputTokens": 7}, "cycles": [{"ms": 250, "inputTokens": 7}, {}]}, (0.25,), (7, 0)),
        ({"usage": {"inputTokens": "x", "outputTokens": -1}, "cycles": "none"}, (), (0, 0)),
        ({"usage": {"inputTokens": float("inf")}, "cycles": [{"ms": float("inf")}]}, (), (0, 0)),
    ],
)
def test_an_agent_that_says_less_is_understood_all_the_same(more: dict, cycles: tuple, tokens: tuple):
    with agent(reply=REPLY | more) as old, AgentClient(old.url) as client:
        old.together.set()
        reply = client.ask("Hello")

    assert (reply.response, reply.cycles_s, (reply.input_tokens, reply.output_tokens)) == ("Hello", cycles, tokens)
    assert reply.calls[0].ms is None
