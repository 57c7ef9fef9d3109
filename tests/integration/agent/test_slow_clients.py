"""Clients that keep a connection busy and never finish, on real sockets: none keeps others from their answers."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from genai_pipeline.agent import question, server
from tests.fakes.running_agent import RunningAgent, running_agent
from tests.fakes.scripted_model import Say, ScriptedModel

QUESTION = b'{"prompt": "Hello"}'
POST = b"POST /agent HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with ScriptedModel(lambda messages: Say("Hello")) as model, running_agent(model.url) as agent:
        yield agent


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


def flood(connection: socket.socket, data: bytes) -> None:
    while True:
        connection.sendall(data)


def test_a_body_that_never_ends_is_refused(agent: RunningAgent, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(question, "READ_DEADLINE_S", 0.6)
    with connected(agent) as connection:
        connection.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        head, _, body = until_closed(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"] == "body_too_slow"


def test_headers_without_end_are_refused_before_they_fill_the_memory(agent: RunningAgent):
    with connected(agent) as connection:
        connection.sendall(POST + b"X-Long: ")
        with suppress(ConnectionError):  # refused while it still sends
            connection.sendall(b"x" * (4 * server.MAX_HEAD_BYTES))
        answer = b""
        with suppress(ConnectionError):
            answer = until_closed(connection)

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")) or not answer


def test_many_requests_in_one_piece_are_not_one_large_request(agent: RunningAgent):
    with connected(agent) as connection:
        connection.sendall((GET + b"X-Long: " + b"x" * 2_000 + b"\r\n\r\n") * 90 + GET + b"Connection: close\r\n\r\n")

        assert until_closed(connection).count(b"HTTP/1.1 200") == 91


def test_requests_far_ahead_of_their_answers_are_not_kept_in_memory():
    with (
        ScriptedModel(lambda messages: Say("Hello", wait_s=60)) as slow,
        running_agent(slow.url) as patient,
        connected(patient) as connection,
    ):
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(QUESTION) + QUESTION)
        connection.settimeout(1)
        with pytest.raises(TimeoutError):  # the service stops reading, and the kernel's buffers are full
            flood(connection, (GET + b"\r\n") * 1_000)

        assert httpx.get(f"{patient.url}/healthz", timeout=20).status_code == 200


def test_a_connection_that_never_sends_a_request_holds_up_no_other(agent: RunningAgent):
    with connected(agent) as silent, connected(agent) as half:
        half.sendall(GET)
        assert httpx.get(f"{agent.url}/healthz", timeout=20).status_code == 200
        half.sendall(b"\r\n")

        assert half.recv(65_536).startswith(b"HTTP/1.1 200")
        silent.settimeout(0.05)
        with pytest.raises(TimeoutError):  # docs/agent.md says that a proxy has to end such connections
            silent.recv(1)


def test_an_answer_that_is_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "READER_S", 1)
    with (
        ScriptedModel(lambda messages: Say("Hello")) as model,
        running_agent(model.url) as agent,
        connected(agent, receive_buffer=4096) as connection,
        pytest.raises(ConnectionError),
    ):
        flood(connection, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
