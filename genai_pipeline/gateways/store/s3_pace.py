"""Breaks off answers that come in drips, so that they are tried again, as when a connection breaks.

boto3's time-outs count from the last byte: a server that sends one each minute is waited for as long as it likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from urllib3 import exceptions

from genai_pipeline.gateways import bounded_body
from genai_pipeline.gateways.bounded_body import SLOWEST_BYTES_PER_S, MinimumRate
from genai_pipeline.gateways.store.abc import CHUNK

GRACE_S = 60.0
"""Of waiting for a body before it is held to that."""
GRACE_OF_WRITES_S = 900.0
"""While S3 completes an upload or copies, it sends blanks. Source: S3 API reference, "CompleteMultipartUpload"."""


class TooSlow(HTTPClientError):
    fmt = "the answer came too slowly: {why}"


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
        self._raw, self._url = raw, url
        self._rate = MinimumRate(grace_s, SLOWEST_BYTES_PER_S, clock)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK):
            yield chunk

    def read(self, amount: int | None = None) -> bytes:
        """What has come, at most `amount`; without one, all."""
        if amount is None:
            return b"".join(self.stream())
        try:
            return self._rate.read(lambda: self._raw.read1(amount, decode_content=False))
        except bounded_body.TooSlow as error:
            self._raw.close()
            raise TooSlow(why=error) from error
        except exceptions.ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=self._url, error=error) from error
        except exceptions.HTTPError as error:
            raise ConnectionClosedError(endpoint_url=self._url, error=error) from error
