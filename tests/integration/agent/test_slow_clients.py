"""Clients that keep a connection and not its promise, on real sockets: each ends, and holds nobody up."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from genai_pipeline.agent import body, wire
from tests.fakes.running_agent import RunningAgent, running_agent
from tests.fakes.scripted_model import Say, ScriptedModel

QUESTION = b'{"prompt": "Hello"}'
POST = b"POST /agent HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with ScriptedModel(lambda messages: Say("Hello")) as model, running_agent(model.url) as agent:
        yield agent


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "REQUEST_S", 0.3)
    monkeypatch.setattr(wire, "READER_S", 0.3)


@contextmanager
def connected(agent: RunningAgent, receive_buffer: int = 0) -> Iterator[socket.socket]:
    host, _, port = agent.url.removeprefix("http://").partition(":")
    with socket.socket() as connection:
        connection.settimeout(20)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect((host, int(port)))
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def told(answer: bytes) -> tuple[bytes, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return head.split()[1], json.loads(body)["error"]["code"]


def dripped(connection: socket.socket, drop: bytes) -> None:
    """Until the other side has had enough."""
    with suppress(ConnectionError):
        while True:
            connection.sendall(drop)


@pytest.mark.parametrize("begin", [b"P", POST, POST + b"X-Half: "])
def test_a_request_whose_headers_never_end_is_told_and_closed(agent: RunningAgent, begin: bytes):
    with connected(agent) as connection:
        connection.sendall(begin)

        assert told(until_closed(connection)) == (b"408", "request_too_slow")


def test_a_connection_that_never_says_a_word_is_closed_without_one(agent: RunningAgent):
    with connected(agent) as connection:
        assert until_closed(connection) == b""


def test_the_next_request_of_a_connection_has_no_more_time_than_the_first(agent: RunningAgent):
    with connected(agent) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /hea")

        assert told(until_closed(connection)) == (b"408", "request_too_slow")


@pytest.mark.parametrize("rest", [b"\r\n", b"GET /healthz HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n"])
def test_what_is_dripped_after_an_answer_keeps_no_connection(agent: RunningAgent, rest: bytes):
    with connected(agent) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(rest)

        dripped(connection, b"\r\n")


def test_headers_without_end_are_refused_before_they_fill_the_memory(
    agent: RunningAgent, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wire, "REQUEST_S", 60)
    with connected(agent) as connection:
        connection.sendall(POST + b"X-Long: ")
        assert httpx.get(f"{agent.url}/healthz", timeout=60).status_code == 200  # it is a piece of its own
        connection.sendall(b"x" * (wire.MAX_HEAD_BYTES + 1))

        assert told(until_closed(connection)) == (b"431", "headers_too_large")


def test_many_requests_in_one_piece_are_no_large_one(agent: RunningAgent, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wire, "REQUEST_S", 60)
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    with connected(agent) as connection:
        connection.sendall((get + b"X-Long: " + b"x" * 2_000 + b"\r\n\r\n") * 90 + get)
        connection.sendall(b"Connection: close\r\n\r\n")

        assert until_closed(connection).count(b"HTTP/1.1 200") == 91


def test_requests_far_ahead_of_their_answers_are_not_kept_in_memory():
    with (
        ScriptedModel(lambda messages: Say("Hello", wait_s=60)) as slow,
        running_agent(slow.url) as patient,
        connected(patient) as connection,
    ):
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(QUESTION) + QUESTION)

        dripped(connection, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
        for _ in range(500):  # looks at what becomes of the first one
            gone = patient.service.metrics.registry.get_sample_value("agent_requests_total", {"status": "499"})
            if gone or httpx.get(f"{patient.url}/healthz", timeout=20).status_code != 200:
                break

        assert gone == 1


def test_a_body_that_never_ends_is_told_by_the_application(agent: RunningAgent, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(body.read_body, "__defaults__", (0.6,))
    with connected(agent) as connection:
        connection.sendall(POST + b"Content-Length: 100\r\n\r\n{")

        assert told(until_closed(connection)) == (b"408", "body_too_slow")


def test_an_answer_that_takes_its_time_is_not_cut_off_by_a_half_sent_next_request():
    with (
        ScriptedModel(lambda messages: Say("Hello", wait_s=1.0)) as slow,
        running_agent(slow.url) as patient,
        connected(patient) as connection,
    ):
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(QUESTION) + QUESTION + b"GET /hea")

        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        assert b"request_too_slow" in until_closed(connection)


def test_nothing_is_put_into_the_middle_of_an_answer():
    with (
        ScriptedModel(lambda messages: Say("Hello", wait_s=60)) as slow,
        running_agent(slow.url) as patient,
        connected(patient) as connection,
    ):
        connection.sendall(POST + b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(QUESTION) + QUESTION)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\x16\x03\x01\x02")

        assert b"400" not in until_closed(connection)


def test_an_answer_that_nobody_reads_is_given_up(agent: RunningAgent):
    with connected(agent, receive_buffer=4096) as connection:
        get = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        dripped(connection, get * 50)
