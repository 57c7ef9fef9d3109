"""The client of the OpenAI API over loopback: repetitions, deadlines, streams and kept connections."""

import errno
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.inference.chat_answer import parse_answer
from genai_pipeline.gateways.inference.inference_client import ClientSettings, InferenceClient
from tests.fakes.listening import Listening
from tests.fakes.tool_model import Said, ToolModel, as_stream, in_turn

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def ask(url: str, body: dict = BODY, **settings):
    client = InferenceClient(url, ClientSettings(**settings))
    try:
        return client.send("POST", "/chat/completions", body)
    finally:
        client.close()


@pytest.mark.parametrize("first", [Said("busy", status=503), Said("slow down", status=429), Said("x", cut=True)])
@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (2, 2)])
def test_a_temporary_error_is_followed_by_another_try_only_where_that_is_asked_for(
    first: Said, retries: int, asked: int
):
    with ToolModel(in_turn(first, Said("Hello"))) as model:
        try:
            status = ask(model.url, retries=retries).status
        except EngineUnavailable:
            status = 0

    assert len(model.requests) == asked
    assert (status == 200) is (retries > 0)


@pytest.mark.parametrize(("number", "seen"), [(errno.EBADF, 200), (errno.ECONNRESET, 0)])
def test_a_connection_that_the_clients_own_pool_closed_counts_as_no_failure(monkeypatch, number: int, seen: int):
    """A pool that many threads share closes an expired connection, even one that a thread was just given."""
    send, broken = httpx.HTTPTransport.handle_request, [OSError(number, "the connection is closed")]

    def closed_once(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if broken:
            raise httpx.ReadError("closed") from broken.pop()
        return send(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", closed_once)
    with ToolModel(in_turn(Said("Hello"))) as model:
        try:
            status = ask(model.url).status
        except EngineUnavailable:
            status = 0

    assert status == seen


def test_an_error_that_another_try_cannot_mend_is_returned_at_once_with_its_words():
    with ToolModel(lambda request: Said("no such field", status=400)) as model:
        reply = ask(model.url, retries=2)

    assert (reply.status, reply.words, len(model.requests)) == (400, "no such field.", 1)


def test_streams_leave_their_connection_for_the_next_request():
    with ToolModel(lambda request: Said("Hello", calls=(("t", "{}"),))) as model:
        client = InferenceClient(model.url)
        found = [client.send("POST", "/chat/completions", BODY | {"stream": streamed}) for streamed in [True] * 4]
        client.close()

    assert model.connections == 1
    answer = parse_answer(found[0].content, streamed=True)
    assert (answer.text, answer.calls[0].name, answer.finish) == ("Hello", "t", "tool_calls")


class _KeptOpen(Listening):
    """Sends what `text` says and keeps the connection open."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(_Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(self.server.fake.text.encode())
        self.wfile.flush()
        self.server.fake.stopped.wait()


def test_a_stream_that_stays_open_after_its_end_is_whole():
    with _KeptOpen(as_stream(Said("Hello"))) as server:
        reply = ask(server.address, BODY | {"stream": True}, deadline_s=0.3)

    assert parse_answer(reply.content, streamed=True).text == "Hello"


def test_an_answer_that_does_not_end_is_waited_for_until_the_deadline():
    with _KeptOpen('{"choices": [') as server, pytest.raises(EngineUnavailable, match=r"did not answer within 0\.3 s"):
        ask(server.address, deadline_s=0.3, retries=2)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"choices": [{"message": null}]}', b"<html>"])
def test_another_body_is_not_a_chat_completion(content: bytes):
    with pytest.raises(ValueError, match="not a chat completion"):
        parse_answer(content)


@pytest.mark.parametrize("line", ["data: {", "data: []", 'data: {"error": {"message": "out of memory"}}', "data: {}"])
def test_another_line_is_not_a_chunk_of_one(line: str):
    with pytest.raises(ValueError, match="not a chat completion"):
        parse_answer(f"{line}\n\ndata: [DONE]\n\n".encode(), streamed=True)
