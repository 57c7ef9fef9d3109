"""Ask an agent, and tell its own errors from failures that say nothing about it.

An agent that answers with an error of its own (500, 502, 504, or a refusal) has been measured: it failed. One that is
busy, restarting, without its model, out of reach or closed to the pipeline has not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx

from genai_pipeline.evaluation.reply import NotMeasured, Reply, ReportedCall
from genai_pipeline.gateways.agent.keys import REFUSED, REMEDY, key_headers, without_key
from genai_pipeline.gateways.backoff import backoff_s, retry_after_s
from genai_pipeline.gateways.bounded_body import whole_within
from genai_pipeline.gateways.connections import is_loopback
from genai_pipeline.gateways.pace import Pace

TIMEOUT_S = 60.0
ATTEMPTS = 3
BUSY, UNAVAILABLE = 429, 503
_NO_AGENT = (404, 405)
BUSY_PATIENCE = 2.0
"""Time-outs of a turn for which an agent may say that it is busy, before the turn counts as not measured."""
MOST_AT_ONCE = 100
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0


class AgentClient:
    """One agent, over connections that are kept. Safe to use from many threads.

    Args:
        timeout_s: for one turn.
        concurrency: turns under way at once. An agent that says 429 is asked less at a time, and asked again.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S, concurrency: int = MOST_AT_ONCE) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        limits = httpx.Limits(max_connections=MOST_AT_ONCE, max_keepalive_connections=MOST_AT_ONCE)
        headers, hooks = key_headers(), whole_within(timeout_s)
        self._http = httpx.Client(
            timeout=timeout_s, limits=limits, headers=headers, event_hooks=hooks, trust_env=not is_loopback(url)
        )
        self._pace = Pace(min(concurrency, MOST_AT_ONCE))

    def __enter__(self) -> AgentClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def reach(self) -> None:
        """Ask whether it is ready. Raises: NotMeasured: it is not, or there is no answer."""
        response = self._request("GET", "/readyz", None)
        if response.status_code != 200:
            raise NotMeasured(f"{self._url}/readyz answered {response.status_code}: {_message_of(response)}")

    def ask(self, prompt: str, session_id: str | None = None) -> Reply:
        """Ask one turn and return the reply. Raises: NotMeasured: no reply says anything about the agent."""
        body = {"prompt": prompt} | ({"session_id": session_id} if session_id else {})
        unavailable, busy, gives_up_at = 0, 0, time.monotonic() + BUSY_PATIENCE * self._timeout_s
        while True:
            with self._pace.turn():
                asked_at, started = datetime.now(UTC), time.perf_counter()
                response = self._request("POST", "/agent", body)
                seconds = time.perf_counter() - started
            if response.status_code in REFUSED:
                raise NotMeasured(f"{self._answered(response)} {REMEDY}")
            if response.status_code not in (BUSY, UNAVAILABLE):
                return replace(_reply(response, asked_at, seconds), prompt=prompt)
            unavailable += response.status_code == UNAVAILABLE
            busy += response.status_code == BUSY
            if busy:
                self._pace.busy()
            if unavailable >= ATTEMPTS or time.monotonic() > gives_up_at:
                raise NotMeasured(self._answered(response))
            asked_for = retry_after_s(response.headers)
            time.sleep(min(_LONGEST_PAUSE_S, backoff_s(busy + unavailable, _FIRST_PAUSE_S, asked_for)))

    def _answered(self, response: httpx.Response) -> str:
        return f"{self._url}/agent answered {response.status_code}: {_message_of(response)}"

    def _request(self, method: str, path: str, body: dict[str, str] | None) -> httpx.Response:
        started = time.perf_counter()
        try:
            return self._http.request(method, self._url + path, json=body)
        except httpx.TimeoutException as error:
            waited = time.perf_counter() - started
            raise NotMeasured(f"{self._url}{path} did not answer within {self._timeout_s:g} s", waited) from error
        except httpx.HTTPError as error:
            raise NotMeasured(f"{self._url}{path} could not be reached ({type(error).__name__})") from error


def _reply(response: httpx.Response, asked_at: datetime, seconds: float) -> Reply:
    if response.is_redirect or response.status_code in _NO_AGENT:
        raise NotMeasured(f"{response.url} is not an agent: it answered {response.status_code}")
    if response.status_code != 200:
        return Reply(asked_at, seconds, problem=f"the agent answered {response.status_code}: {_message_of(response)}")
    try:
        data = response.json()
        tools = data["tools"]
        calls = tuple(ReportedCall(t["name"], dict(t["arguments"]), t["status"], _number(t, "ms")) for t in tools)
        text, session_id = data["response"], str(data["session_id"])
        if not isinstance(text, str):
            raise TypeError(f"its response is {text!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise NotMeasured(f"{response.url} is not an agent: its answer has another form ({error!r})") from error
    return Reply(
        asked_at,
        seconds,
        text,
        session_id,
        calls,
        cycles_s=_cycles_s(data.get("cycles")),
        input_tokens=int(_number(data.get("usage"), "inputTokens") or 0),
        output_tokens=int(_number(data.get("usage"), "outputTokens") or 0),
    )


def _cycles_s(cycles: Any) -> tuple[float, ...]:
    """Older agents do not report them; their answers are still valid."""
    found = [_number(cycle, "ms") for cycle in cycles] if isinstance(cycles, list) else []
    return tuple(ms / 1000 for ms in found if ms is not None)


def _number(data: Any, name: str) -> float | None:
    value = data.get(name) if isinstance(data, Mapping) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf else None


def _message_of(response: httpx.Response) -> str:
    try:
        body = response.json()
        said = str(body["reason"] if "reason" in body else body["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = response.text[:200]
    return without_key(said)
