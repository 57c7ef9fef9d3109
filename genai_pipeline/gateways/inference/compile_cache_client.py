"""The two paths of an engine that only the pipeline may ask: what it restored, and the archive of what it compiled.

They need the token that pods get from a Secret. Without it an engine has no such paths.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from genai_pipeline.core.compile_cache import Reason, Restored, versions
from genai_pipeline.core.engine_paths import (
    CACHE_PATH,
    MADE_WITH_HEADER,
    REASON_HEADER,
    RESTORED_PATH,
    TOKEN_HEADER,
)
from genai_pipeline.core.errors import EngineUnavailable, NotFound, Refused
from genai_pipeline.gateways.bounded_body import whole_within
from genai_pipeline.gateways.inference.abc import PulledCache
from genai_pipeline.gateways.inference.inference_client import LOOK_AT_THE_LOG

MOST_BYTES = 2 * 2**30
"""As much as a pod restores (`k8s/restoring.py`). Archives that were seen had 60 to 235 MB."""
_RESTORED_S = 10.0
_NEXT_BYTE_S = 120.0
"""An engine packs before its first byte, in seconds; a processor that is busy may need more."""


def ask_restored(base_url: str, token: str) -> Restored | None:
    """Do what `Inference.restored` says. Raises: EngineUnavailable."""
    with _asked(f"{base_url}{RESTORED_PATH}", token, _RESTORED_S) as response:
        if response.status_code == 404:
            return None
        _require(response, 200)
        response.read()
        try:
            said = response.json()
            figures = int(said["bytes"]), float(said["seconds"]), str(said["sha256"])
            return Restored(Reason(said["reason"]), str(said["why"])[:300], *figures)
        except (ValueError, KeyError, TypeError) as error:
            what = f"GET {response.url} did not say what was restored: {error!r}."
            raise EngineUnavailable(what, LOOK_AT_THE_LOG) from error


def pull_compile_cache(
    base_url: str, token: str, sink: Callable[[bytes], object], deadline_s: float, most_bytes: int = MOST_BYTES
) -> PulledCache:
    """Do what `Inference.pull_compile_cache` says. Raises: NotFound, EngineUnavailable, Refused."""
    with _asked(f"{base_url}{CACHE_PATH}", token, deadline_s) as response:
        if response.status_code == 404:
            raise NotFound(f"{response.url} does not exist for this pipeline.", "Pods get its token when they start.")
        if response.status_code == 204:
            return PulledCache({}, response.headers.get(REASON_HEADER, "nothing is compiled")[:300])
        if response.status_code == 409:
            raise EngineUnavailable(f"{response.url} packs for another request.", "The next rollout tries it again.")
        _require(response, 200)
        size, made_with = _announced(response)
        if size > most_bytes:
            raise Refused(f"{response.url} has {size} bytes, and {most_bytes} are allowed.", "It is not kept.")
        came = 0
        for part in response.iter_raw(65536):
            came += len(part)
            if came > size:
                break
            sink(part)
        if came != size:
            raise EngineUnavailable(f"{response.url} sent {came} of {size} bytes.", LOOK_AT_THE_LOG)
        return PulledCache(made_with)


def _announced(response: httpx.Response) -> tuple[int, dict[str, str]]:
    try:
        return int(response.headers["Content-Length"]), versions(json.loads(response.headers[MADE_WITH_HEADER]))
    except (KeyError, ValueError) as error:
        what = f"{response.url} does not say how large its archive is, or what made it: {error!r}."
        raise EngineUnavailable(what, LOOK_AT_THE_LOG) from error


@contextmanager
def _asked(url: str, token: str, deadline_s: float) -> Iterator[httpx.Response]:
    """Send one request on a connection of its own, which no other request of this process waits for."""
    timeout = httpx.Timeout(min(_NEXT_BYTE_S, deadline_s), connect=5.0)
    headers = {TOKEN_HEADER: token, "Accept-Encoding": "identity"}
    try:
        with (
            httpx.Client(timeout=timeout, trust_env=False, event_hooks=whole_within(deadline_s)) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            yield response
    except httpx.TimeoutException as error:
        raise EngineUnavailable(f"GET {url} did not end within {deadline_s:g} s.", LOOK_AT_THE_LOG) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise EngineUnavailable(f"GET {url} got no whole answer: {reason}.", LOOK_AT_THE_LOG) from error


def _require(response: httpx.Response, status: int) -> None:
    if response.status_code != status:
        raise EngineUnavailable(f"GET {response.url} answered {response.status_code}.", LOOK_AT_THE_LOG)
