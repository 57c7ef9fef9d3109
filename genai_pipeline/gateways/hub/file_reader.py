"""Reads ranges of the hub's files without a disk.

A read is retried, continued where it broke, and checked to be of the right commit. A large file is a redirect to a
signed address on another host. That address is kept, so that a thousand ranges of one file ask the hub once; when it
has expired (403), the hub is asked again. The token is sent to the hub's own origin only.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from genai_pipeline.core.errors import (
    AccessDenied,
    HubUnavailable,
    NotFound,
    Refused,
    RepositoryNotFound,
    RevisionNotFound,
)
from genai_pipeline.gateways.backoff import LONGEST_WAIT_S, backoff_s, retry_after_s
from genai_pipeline.gateways.bounded_body import SLOWEST_BYTES_PER_S, MinimumRate, TooSlow
from genai_pipeline.gateways.connections import Connections
from genai_pipeline.gateways.pace import Pace
from genai_pipeline.gateways.store.abc import CHUNK

ATTEMPTS = 5
"""In a row without a byte. An attempt that brought bytes starts the count again, up to MOST_BREAKS in all."""
ATTEMPTS_AT_A_MIRROR = 2  # where no answer named its commit so far
MOST_BREAKS = 20
BACK_OFF_S = 0.5
CONNECTIONS = 64
MOST_REDIRECTS = 5
MOST_ADDRESSES = 1024
RUN_AGAIN = "Try again later. Files that are already verified stay staged."
WITHOUT_COMMIT = "it answered without X-Repo-Commit, so nothing names the commit of the bytes"
USE_A_HUB = "Set HF_ENDPOINT to a hub, or to a mirror that hands on the headers of the hub."
_WORDS = {
    "NewConnectionError": "no server answers at its address",
    "NameResolutionError": "its host name is unknown",
    "ConnectTimeoutError": "it does not accept connections",
    "ReadTimeoutError": "it stopped sending",
    "ProtocolError": "the connection broke",
    "IncompleteRead": "the connection broke",
    "SSLError": "its certificate is not trusted",
}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True)
class ReadLimits:
    """How long a reader goes on with one range.

    Args:
        longest_s: seconds for one range, waits included; no attempt begins after it.
        grace_s: seconds of waiting before an answer must come at `slowest_bytes_per_s`. A slower answer is broken off
            and continued on a new connection.
    """

    longest_s: float = 900.0
    grace_s: float = 30.0
    slowest_bytes_per_s: float = SLOWEST_BYTES_PER_S


class _TryAgain(Exception):
    """This attempt failed, but another one may succeed. Args: wait_s: what the hub asked for; most: attempts in all."""

    def __init__(self, why: str, remedy: str = "", wait_s: float | None = None, most: int = ATTEMPTS) -> None:
        self.remedy, self.wait_s, self.most = remedy, wait_s, most
        super().__init__(why)


@dataclass
class _Progress:
    """How far a read is: bytes [at, end) are still to come. `end` is None until the first answer says it."""

    at: int
    end: int | None

    @property
    def finished(self) -> bool:
        return self.end is not None and self.at >= self.end

    @property
    def range(self) -> dict[str, str]:
        if self.at == 0 and self.end is None:
            return {}
        return {"Range": f"bytes={self.at}-{'' if self.end is None else self.end - 1}"}


class FileReader:
    """Shared by all threads of a stager: one pool of connections, one memory of signed addresses."""

    def __init__(
        self,
        endpoint: str,
        token: str | None,
        sleep: Callable[[float], None] = time.sleep,
        limits: ReadLimits | None = None,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._token = token
        self._sleep = sleep
        self._limits = limits or ReadLimits()
        self._origin = _origin(self._endpoint)
        self._connections = Connections(CONNECTIONS)
        self._pace = Pace(CONNECTIONS)
        self._addresses: dict[str, str] = {}
        self._has_named_a_commit = False
        self._lock = threading.Lock()

    def read(self, repository: str, revision: str, path: str, start: int, end: int | None) -> Iterator[bytes]:
        """Return bytes [start, end) in chunks. After an answer of fewer bytes the rest is asked for again."""
        url = f"{self._endpoint}/{repository}/resolve/{quote(revision, safe='')}/{quote(path)}"
        progress, failures, breaks, last = _Progress(start, end), 0, 0, time.monotonic() + self._limits.longest_s
        while not progress.finished:
            before = progress.at
            try:
                yield from self._attempt(url, revision, progress)
                return
            except (_TryAgain, TooSlow, HTTPError) as error:
                failures, breaks = (1 if progress.at > before else failures + 1), breaks + 1
                tried = error if isinstance(error, _TryAgain) else _TryAgain(_why(error))
                left_s = last - time.monotonic()
                if failures >= tried.most or breaks >= MOST_BREAKS or left_s < 0:
                    raise HubUnavailable(
                        f"{self._endpoint} did not send {repository}/{path}: {tried}.", tried.remedy or RUN_AGAIN
                    ) from None
                longest_s = left_s if tried.wait_s and tried.wait_s <= left_s else LONGEST_WAIT_S
                self._sleep(backoff_s(failures, BACK_OFF_S, tried.wait_s, longest_s))

    def _attempt(self, url: str, revision: str, progress: _Progress) -> Iterator[bytes]:
        with self._answer(url, revision, progress) as response:
            skip, rate = _begin(response, progress), self._minimum_rate()
            while chunk := rate.read(lambda: response.read1(CHUNK, decode_content=False)):
                useful, skip = chunk[skip:], max(0, skip - len(chunk))
                if progress.end is not None:
                    useful = useful[: progress.end - progress.at]
                if useful:
                    progress.at += len(useful)
                    yield useful
                if progress.finished:
                    return
        if progress.end is not None and not progress.finished:
            raise _TryAgain(f"the answer ended {progress.end - progress.at} bytes early")

    def _minimum_rate(self) -> MinimumRate:
        return MinimumRate(self._limits.grace_s, self._limits.slowest_bytes_per_s)

    @contextmanager
    def _answer(self, url: str, revision: str, progress: _Progress) -> Iterator[BaseHTTPResponse]:
        """Yield the answer that holds the bytes, after all redirects."""
        known = self._addresses.get(url)
        target, named = known or url, known is not None
        with self._pace.turn():
            for _ in range(MOST_REDIRECTS):
                with self._one(target, progress) as response:
                    if _names_commit(response, revision, url):
                        named = self._has_named_a_commit = True
                    if not response.get_redirect_location():
                        self._require_good(response, url, target, named)
                        yield response
                        return
                    target = _redirected(target, response.headers["Location"])
        raise HubUnavailable(f"{url} redirects more than {MOST_REDIRECTS} times.", RUN_AGAIN)

    @contextmanager
    def _one(self, target: str, progress: _Progress) -> Iterator[BaseHTTPResponse]:
        """Yield one answer. Its connection is kept if the body was read to its end."""
        headers = {"Accept-Encoding": "identity", **progress.range, **self._authorization(target)}
        response = self._connections.request("GET", target, headers, stream=True)
        try:
            yield response
            if response.get_redirect_location() or progress.finished:
                response.drain_conn()
        finally:
            response.close()

    def _require_good(self, response: BaseHTTPResponse, url: str, target: str, named: bool) -> None:
        if response.status >= 400:
            self._addresses.pop(url, None)
            if response.status in (429, 503):
                self._pace.busy()
            raise self._error(response, url, redirected=target != url)
        if not named:
            most = ATTEMPTS if self._has_named_a_commit else ATTEMPTS_AT_A_MIRROR
            raise _TryAgain(WITHOUT_COMMIT, USE_A_HUB, most=most)
        self._remember(url, target)

    def _authorization(self, target: str) -> dict[str, str]:
        if self._token and _origin(target) == self._origin:
            return {"Authorization": f"Bearer {self._token}"}
        return {}

    def _remember(self, url: str, target: str) -> None:
        if target == url:
            return
        with self._lock:
            while len(self._addresses) >= MOST_ADDRESSES:
                self._addresses.pop(next(iter(self._addresses)))
            self._addresses[url] = target

    def _error(self, response: BaseHTTPResponse, url: str, redirected: bool) -> Exception:
        status, code = response.status, response.headers.get("X-Error-Code")
        if status == 429 or status >= 500:
            asked_s = retry_after_s(response.headers)
            return _TryAgain(
                f"it answered {status}{f' and asks for {asked_s:.0f} s' if asked_s else ''}", wait_s=asked_s
            )
        if status == 416:
            return Refused(
                f"{url} is shorter than the range that was asked for.", "Take a new snapshot of the revision."
            )
        if redirected and not code and status in (401, 403, 404, 410):
            return _TryAgain(f"the signed address behind it answered {status}")
        if code == "RepoNotFound":
            return repository_not_found(url, self._endpoint)
        if status in (401, 403):
            return access_denied(url, self._endpoint)
        if code == "RevisionNotFound":
            return RevisionNotFound(f"{url}: no such revision.", "Pin another `source.ref` in the model file.")
        return NotFound(f"{url}: the hub answered {status}: no such file.", "Take a new snapshot of the revision.")


def access_denied(what: str, endpoint: str) -> AccessDenied:
    """Return the error, which says where to get access. `what` is the address or the repository."""
    repository = what.removeprefix(f"{endpoint}/").partition("/resolve/")[0]
    return AccessDenied(
        f"The hub denies access to {repository}.",
        f"Accept its licence at {endpoint}/{repository}, and set HF_TOKEN to a token of that account.",
    )


def repository_not_found(what: str, endpoint: str) -> RepositoryNotFound:
    repository = what.removeprefix(f"{endpoint}/").partition("/resolve/")[0]
    return RepositoryNotFound(
        f"{endpoint} has no repository {repository!r}.",
        "Correct `source.hub` in the model file; if it is private, set HF_TOKEN to a token that may read it.",
    )


def _begin(response: BaseHTTPResponse, progress: _Progress) -> int:
    """Return how many bytes of the body to skip. It sets the end of a read without one to the size of the file."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _TryAgain(f"it sent the file as {response.headers['Content-Encoding']}, which was not asked for")
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != progress.at:
            raise _TryAgain("it sent another range than the one that was asked for")
        size, skip = int(match[2]), 0
    elif response.status == 200:
        size, skip = int(response.headers.get("Content-Length", -1)), progress.at
    else:
        raise _TryAgain(f"it answered {response.status} instead of a file")
    if progress.end is None and size >= 0:
        progress.end = size
    elif progress.end is not None and 0 <= size < progress.end:
        raise _TryAgain(f"it sent {size} bytes instead of a file of at least {progress.end}")
    return skip


def _names_commit(response: BaseHTTPResponse, revision: str, url: str) -> bool:
    """Say whether this answer names its commit. The hub must do so; the host behind a redirect need not."""
    commit = response.headers.get("X-Repo-Commit")
    if commit and commit != revision:
        raise RevisionNotFound(
            f"{url}: the hub sent commit {commit[:12]} instead of {revision[:12]}.",
            "Take a new snapshot; a ref that moves is not a revision.",
        )
    return commit is not None


def _redirected(target: str, location: str) -> str:
    try:
        return urljoin(target, location)
    except ValueError:
        raise _TryAgain("it redirects to an invalid address") from None


def _why(error: Exception) -> str:
    """Describe an error without an address, because a signed address is a secret."""
    return (
        str(error)
        if isinstance(error, (_TryAgain, TooSlow))
        else _WORDS.get(type(error).__name__, type(error).__name__)
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    at = urlsplit(url)
    return at.scheme, at.hostname, at.port or {"http": 80, "https": 443}.get(at.scheme)
