"""Breaks off answers that come in drips, so that they are tried again, as when a connection breaks.

boto3's time-outs count from the last byte: a server that sends one each minute is waited for as long as it likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from urllib3 import exceptions

from genai_pipeline.gateways.store.abc import CHUNK

SLOWEST_BYTES_PER_S = 32 * 1024
GRACE_S = 60.0
"""Of waiting for a body before it is held to that."""
GRACE_OF_WRITES_S = 900.0
"""While S3 completes an upload or copies, it sends blanks. Source: S3 API reference, "CompleteMultipartUpload"."""


class TooSlow(HTTPClientError):
    fmt = "its answer came in drips, {received} bytes in {waited_s:.0f} s"


def keep_pace(client: Any, clock: Callable[[], float] = time.monotonic) -> None:
    """Make a client of boto3 give up answers that are too slow."""
    session = client._endpoint.http_session
    send = session.send

    def paced(request: Any) -> Any:
        streamed, request.stream_output = request.stream_output, True  # so that no body is read in there
        answer = send(request)
        grace_s = GRACE_S if request.method in ("GET", "HEAD") else GRACE_OF_WRITES_S
        answer.raw = _Paced(answer.raw, request.url, grace_s, clock)
        if not streamed:
            _ = answer.content  # reads it, and remembers it
        return answer

    session.send = paced


class _Paced:
    """A body of urllib3 as botocore reads one. What the reader takes for itself between two reads does not count."""

    def __init__(self, raw: Any, url: str, grace_s: float, clock: Callable[[], float]) -> None:
        self._raw, self._url, self._grace_s, self._clock = raw, url, grace_s, clock
        self._received, self._waited_s = 0, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK):
            yield chunk

    def read(self, amount: int | None = None) -> bytes:
        """What has come, at most `amount`; without one, all."""
        if amount is None:
            return b"".join(self.stream())
        began = self._clock()
        try:
            chunk: bytes = self._raw.read1(amount, decode_content=False)
        except exceptions.ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=self._url, error=error) from error
        except exceptions.HTTPError as error:
            raise ConnectionClosedError(endpoint_url=self._url, error=error) from error
        self._received += len(chunk)
        self._waited_s += self._clock() - began
        if chunk and self._waited_s > self._grace_s and self._received < SLOWEST_BYTES_PER_S * self._waited_s:
            self._raw.close()
            raise TooSlow(received=self._received, waited_s=self._waited_s)
        return chunk
