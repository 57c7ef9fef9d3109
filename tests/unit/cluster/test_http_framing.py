"""Where messages end decides when a connection may move to another pod."""

from __future__ import annotations

import pytest

from genai_pipeline.gateways.cluster.local.http_framing import HEAD_MAX, Exchange

GET = b"GET / HTTP/1.1\r\nHost: m\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def after(request: bytes, *responses: bytes) -> Exchange:
    exchange = Exchange()
    exchange.feed_request(request)
    for response in responses:
        exchange.feed_response(response)
    return exchange


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (GET, OK),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", OK),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", OK),
        (b"\r\n" + GET, OK),
        (GET, CHUNKED + b"5;ext=1\r\nhello\r\n0\r\nTrailer: x\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 100 Continue\r\n\r\n" + OK),
        (GET + GET, OK + OK),
    ],
    ids=[
        "length",
        "body",
        "chunked-body",
        "blank-line",
        "chunked",
        "204",
        "304",
        "HEAD",
        "100-continue",
        "pipelined",
    ],
)
def test_it_is_at_rest_after_the_last_byte_and_not_before(request_: bytes, response: bytes) -> None:
    exchange = Exchange()
    assert exchange.at_rest
    for index in range(len(request_)):
        exchange.feed_request(request_[index : index + 1])
        assert not exchange.at_rest
    for index in range(len(response)):
        assert not exchange.at_rest
        exchange.feed_response(response[index : index + 1])
    assert exchange.at_rest
    assert not exchange.ends_at_close


def test_all_bytes_at_once_are_understood_like_single_ones() -> None:
    assert after(GET + GET, OK + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n").answered == 2


def test_a_response_without_length_ends_when_the_connection_does() -> None:
    exchange = after(GET, b"HTTP/1.1 200 OK\r\n\r\n", b"until the end")

    assert exchange.ends_at_close
    assert not exchange.at_rest


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\nframes"),
        (b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
        (b"\x16\x03\x01 tls", b"\x16\x03\x03 tls"),
        (b"x" * (HEAD_MAX + 1), b""),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b""),
        (GET, b"HTTP/1.1 abc\r\n\r\n"),
        (GET, CHUNKED + b"zz\r\n"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
        (b"", b"220 smtp greets first\r\n\r\n"),
    ],
)
def test_what_is_not_plain_http_is_never_at_rest(request_: bytes, response: bytes) -> None:
    assert not after(request_, response).at_rest


def test_a_body_that_did_not_arrive_whole_is_not_at_rest() -> None:
    exchange = after(GET, OK[:-1])

    assert not exchange.at_rest
    assert not exchange.all_answered


def test_an_answer_before_the_end_of_the_request_is_complete_though_not_at_rest() -> None:
    exchange = after(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\npart", OK)

    assert exchange.all_answered
    assert not exchange.at_rest
