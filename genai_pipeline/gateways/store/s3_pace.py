"""Breaks off answers of S3 that come too slowly, so that boto3 tries them again as it does after a broken connection.

boto3's time-outs count from the last byte. A server that sends one byte a minute would be waited for without end.
The event `before-send` lets a handler answer a request itself: this one sends it with botocore's own HTTP session and
reads the body under a `MinimumRate`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from urllib3 import exceptions

from genai_pipeline.gateways import bounded_body
from genai_pipeline.gateways.bounded_body import MinimumRate
from genai_pipeline.gateways.store.abc import CHUNK
from genai_pipeline.gateways.store.s3_settings import S3Settings

GRACE_OF_WRITES_S = 900.0
"""While S3 completes an upload or copies, it sends blanks. Source: S3 API reference, "CompleteMultipartUpload"."""
CONNECT_S, READ_S = 3, 60


class AnswerTooSlow(HTTPClientError):
    fmt = "the answer came too slowly: {why}"


def bound_answers(client: Any, settings: S3Settings, ca_bundle: str | None) -> None:
    """Make a client of boto3 give up answers that come too slowly."""
    session = URLLib3Session(
        proxies=get_environ_proxies(client.meta.endpoint_url),
        verify=ca_bundle or True,  # pyright: ignore[reportArgumentType] (a file of certificates is allowed too)
        timeout=(CONNECT_S, READ_S),
        max_pool_connections=settings.connections,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )

    def send(request: Any, **_: Any) -> Any:
        streamed, request.stream_output = request.stream_output, True  # so that the session reads no body
        answer = session.send(request)
        grace_s = settings.read_grace_s if request.method in ("GET", "HEAD") else GRACE_OF_WRITES_S
        answer.raw = _BoundedBody(answer.raw, request.url, MinimumRate(grace_s, settings.slowest_bytes_per_s))
        if not streamed:
            _ = answer.content  # reads it, and keeps it
        return answer

    client.meta.events.register("before-send.s3", send)


class _BoundedBody:
    """A body of urllib3 as botocore reads one."""

    def __init__(self, raw: Any, url: str, rate: MinimumRate) -> None:
        self._raw, self._url, self._rate = raw, url, rate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK):
            yield chunk

    def read(self, amount: int | None = None) -> bytes:
        """Return what has come, at most `amount` bytes; without an amount, everything."""
        if amount is None:
            return b"".join(self.stream())
        try:
            return self._rate.read(lambda: self._raw.read1(amount, decode_content=False))
        except bounded_body.TooSlow as error:
            self._raw.close()
            raise AnswerTooSlow(why=error) from error
        except exceptions.ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=self._url, error=error) from error
        except exceptions.HTTPError as error:
            raise ConnectionClosedError(endpoint_url=self._url, error=error) from error
