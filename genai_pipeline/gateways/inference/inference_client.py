"""Requests to one OpenAI-compatible address, over plain httpx and kept connections.

Why not the openai package: it takes a second to import, and checks every message and schema of a request again.
It also leaves a stream one packet before its end, so that the connection is lost.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.backoff import backoff_s, retry_after_s
from genai_pipeline.gateways.bounded_body import whole_within
from genai_pipeline.gateways.inference.chat_answer import own_words

LOOK_AT_THE_LOG = "Look at the engine's log; /health alone says nothing about completions."
_CONNECT_S = 5.0
_FIRST_PAUSE_S = 0.25
_TEMPORARY = frozenset({408, 409, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class EndpointReply:
    """A whole answer: its HTTP status, headers and body."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def words(self) -> str:
        """The endpoint's own message about an error."""
        return own_words(self.content)


@dataclass(frozen=True)
class ClientSettings:
    """How an address is asked.

    Args:
        deadline_s: for one request, from connecting to the last byte of its body, repetitions included.
        retries: how often a request is sent again after a temporary error or a broken connection.
        connections: most connections at once; `kept` of them stay open, and for `kept_s` seconds.
        proxies: whether the proxies that the environment names are used.
    """

    deadline_s: float = 60.0
    api_key: str = field(default="", repr=False)
    retries: int = 0
    connections: int = 100
    kept: int = 100
    kept_s: float = 5.0
    proxies: bool = False


class InferenceClient:
    """One address. Safe to use from many threads.

    Args:
        base_url: `http://host:port`, to which `/v1` is added; an address with a path is taken as it is.
    """

    def __init__(self, base_url: str, settings: ClientSettings | None = None) -> None:
        self.url = with_version(base_url)
        self.settings = settings or ClientSettings()
        deadline_s, key = self.settings.deadline_s, self.settings.api_key
        self._http = httpx.Client(
            timeout=httpx.Timeout(deadline_s, connect=min(_CONNECT_S, deadline_s)),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            trust_env=self.settings.proxies,
            event_hooks=whole_within(deadline_s),
            limits=httpx.Limits(
                max_connections=self.settings.connections,
                max_keepalive_connections=self.settings.kept,
                keepalive_expiry=self.settings.kept_s,
            ),
        )

    def close(self) -> None:
        self._http.close()

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> EndpointReply:
        """Send one request and return its whole answer, whatever its status; the body of a stream, too.

        Args:
            path: below `/v1`, as `/chat/completions`.
            body: becomes JSON.
        Raises: EngineUnavailable: no whole answer came within the deadline.
        """
        attempt, ends_at = 1, time.monotonic() + self.settings.deadline_s
        while True:
            found = self._try(method, path, body)
            broken = isinstance(found, EngineUnavailable)
            pause_s = backoff_s(attempt, _FIRST_PAUSE_S, None if broken else retry_after_s(found.headers))
            temporary = broken or found.status in _TEMPORARY
            if not temporary or attempt > self.settings.retries or time.monotonic() + pause_s > ends_at:
                break
            time.sleep(pause_s)
            attempt += 1
        if isinstance(found, EngineUnavailable):
            raise found
        return found

    def _try(
        self, method: str, path: str, body: Mapping[str, Any] | None, again: bool = True
    ) -> EndpointReply | EngineUnavailable:
        what, content = f"{method} {self.url}{path}", bytearray()
        try:
            with self._http.stream(method, self.url + path, json=body) as response:
                for part in response.iter_bytes():
                    content += part
        except httpx.TimeoutException as error:
            if content.rstrip().endswith(b"[DONE]"):  # some servers keep a stream open after its end
                return EndpointReply(200, {}, bytes(content))
            limit = f"{self.settings.deadline_s:g} s"
            return _because(error, EngineUnavailable(f"{what} did not answer within {limit}.", LOOK_AT_THE_LOG))
        except httpx.HTTPError as error:
            if again and _closed_here(error):
                return self._try(method, path, body, again=False)
            reason = str(error).rstrip(".") or type(error).__name__
            return _because(error, EngineUnavailable(f"{what} got no answer: {reason}.", LOOK_AT_THE_LOG))
        return EndpointReply(response.status_code, response.headers, bytes(content))


def _closed_here(error: BaseException | None) -> bool:
    """Return whether httpx itself closed the connection, before the request was sent.

    Its pool closes a kept connection that has expired, also one that it has just given to another thread.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.EBADF:
            return True
        error = error.__cause__ or error.__context__
    return False


def _because(cause: Exception, error: EngineUnavailable) -> EngineUnavailable:
    error.__cause__ = cause
    return error


def with_version(base_url: str) -> str:
    """Return the address that API paths are added to: with `/v1` where it has no path of its own."""
    url = base_url.rstrip("/")
    return url if urlsplit(url).path else f"{url}/v1"
