"""What a hub may answer on a bad day, one of each."""

from __future__ import annotations

import json

from genai_pipeline.core.errors import (
    AccessDenied,
    ChecksumMismatch,
    HubUnavailable,
    NotFound,
    Refused,
    RevisionNotFound,
)
from tests.fakes import bad_replies as bad
from tests.fakes.exchange import Exchange
from tests.faults.staging.reply import BadReply

HTML = b"<!doctype html><html><title>Under maintenance</title><body>Back soon.</body></html>"
_HEADER = bad.asks("GET", r"^/cdn/")
"""Of weights, which is read before anything is sent."""
_ONE_PART = bad.large(_HEADER)
_FILE = bad.asks("GET", r"/resolve/")
_SMALL_FILE = bad.asks("GET", r"/resolve/.*/tokenizer\.json$")


def _html(status: int) -> bad.Fault:
    return bad.answer(status, {"Content-Type": "text/html; charset=utf-8"}, HTML)


def _error(status: int, code: str, message: str) -> bad.Fault:
    return bad.answer(
        status, {"X-Error-Code": code, "X-Error-Message": message}, json.dumps({"error": message}).encode()
    )


def _itself(exchange: Exchange) -> str:
    return exchange.target


HUB_REPLIES = [
    BadReply("200 with a web page in place of a range", _ONE_PART, _html(200), HubUnavailable),
    BadReply("200 with a web page in place of a small file", _SMALL_FILE, _html(200), HubUnavailable),
    BadReply(
        "200 with an error in place of a range", _ONE_PART, bad.answer(200, {}, b'{"error": "x"}'), HubUnavailable
    ),
    BadReply("200 without a body", _ONE_PART, bad.answer(200), HubUnavailable),
    BadReply("204", _ONE_PART, bad.answer(204), HubUnavailable),
    BadReply(
        "206 of another range", _ONE_PART, bad.with_header("Content-Range", "bytes 1-5242887/5242888"), HubUnavailable
    ),
    BadReply(
        "206 of a file of another size", _ONE_PART, bad.with_header("Content-Range", "bytes 0-99/100"), HubUnavailable
    ),
    BadReply("206 that does not say which range", _ONE_PART, bad.without_header("Content-Range"), HubUnavailable),
    BadReply("206 without a body", _ONE_PART, bad.emptied, HubUnavailable),
    BadReply("Content-Length too short", _ONE_PART, bad.shorter, None),
    BadReply("Content-Length too long", _ONE_PART, bad.longer, None),
    BadReply("a body that ends early", _ONE_PART, bad.truncated, None),
    BadReply("a reset in the middle of a body", _ONE_PART, bad.reset_midway, None),
    BadReply("a reset before the answer", _ONE_PART, bad.dropped, HubUnavailable),
    BadReply("a gzip that nobody asked for", _ONE_PART, bad.gzipped, HubUnavailable),
    BadReply("trailing garbage behind a chunked body", _ONE_PART, bad.chunked_with_garbage, None),
    BadReply("200 with a web page in place of a header", _HEADER, _html(200), HubUnavailable),
    BadReply("a header that ends early", _HEADER, bad.truncated, None),
    BadReply("other bytes of the same size", _ONE_PART, bad.same_size_garbage, ChecksumMismatch, survived=1),
    BadReply("other bytes of a small file", _SMALL_FILE, bad.same_size_garbage, ChecksumMismatch, survived=1),
    BadReply("another ETag", _ONE_PART, bad.with_header("ETag", '"feedfeed"'), None),
    BadReply("another commit", _FILE, bad.with_header("X-Repo-Commit", "d" * 40), RevisionNotFound, survived=0),
    BadReply("a redirect to itself", _ONE_PART, bad.redirect(_itself), HubUnavailable),
    BadReply("a redirect to nowhere", _FILE, bad.answer(302), HubUnavailable),
    BadReply("a redirect to an address that is none", _FILE, bad.redirect("http://[bad"), HubUnavailable),
    BadReply("a redirect to a file", _FILE, bad.redirect("file:///etc/passwd"), HubUnavailable),
    BadReply("500", _ONE_PART, bad.answer(500), HubUnavailable),
    BadReply("502 with a web page", _FILE, _html(502), HubUnavailable),
    BadReply("503", _FILE, bad.answer(503), HubUnavailable),
    BadReply("503 with Retry-After", _ONE_PART, bad.answer(503, {"Retry-After": "3"}), HubUnavailable, waits_s=3),
    BadReply("429 with Retry-After", _FILE, bad.answer(429, {"Retry-After": "2"}), HubUnavailable, waits_s=2),
    BadReply("429 with a Retry-After of a year", _FILE, bad.answer(429, {"Retry-After": "31536000"}), HubUnavailable),
    BadReply(
        "429 with a Retry-After that is a date",
        _FILE,
        bad.answer(429, {"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT"}),
        HubUnavailable,
    ),
    BadReply(
        "429 with a Retry-After that is nonsense", _FILE, bad.answer(429, {"Retry-After": "soon"}), HubUnavailable
    ),
    BadReply("a signed address that has expired", _ONE_PART, bad.answer(403), HubUnavailable),
    BadReply(
        "a token that has expired",
        _FILE,
        _error(401, "", "Invalid credentials in Authorization header"),
        AccessDenied,
        survived=0,
    ),
    BadReply(
        "a repository that is gated now",
        _FILE,
        _error(403, "GatedRepo", "Access is restricted."),
        AccessDenied,
        survived=0,
    ),
    BadReply("a file that is gone", _FILE, _error(404, "EntryNotFound", "Entry not found"), NotFound, survived=0),
    BadReply("416", _ONE_PART, bad.answer(416), Refused, survived=0),
]

HUB_REPLIES_IN_SHORT = frozenset(
    {
        "200 with a web page in place of a range",
        "206 of another range",
        "a body that ends early",
        "a reset before the answer",
        "other bytes of the same size",
        "another commit",
        "a redirect to an address that is none",
        "500",
        "503 with Retry-After",
        "a signed address that has expired",
        "a repository that is gated now",
        "a file that is gone",
    }
)
"""One of each class; the others take the same way through the code with other bytes."""

SNAPSHOT_REPLIES = [
    BadReply("a web page", bad.every, _html(200), HubUnavailable),
    BadReply("half a JSON", bad.every, bad.truncated, HubUnavailable),
    BadReply(
        "JSON that is something else",
        bad.every,
        bad.answer(200, {"Content-Type": "application/json"}, b"[1]"),
        HubUnavailable,
    ),
    BadReply(
        "JSON without a file", bad.every, bad.answer(200, {"Content-Type": "application/json"}, b"{}"), HubUnavailable
    ),
    BadReply("500", bad.every, bad.answer(500), HubUnavailable),
    BadReply("429", bad.every, bad.answer(429, {"Retry-After": "1"}), HubUnavailable),
    BadReply("a reset", bad.every, bad.dropped, HubUnavailable),
    BadReply("an expired token", bad.every, _error(401, "", "Invalid credentials"), AccessDenied),
]

SNAPSHOT_REPLIES_IN_SHORT = frozenset({"a web page", "an expired token"})
