"""Ask an agent and keep what came back, the failures too, told apart by whose they are.

An agent that answers with an error of its own (500, 502, 504, or a refusal) has been measured: it failed. One that is
busy, restarting, without its model or out of reach has not.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

TIMEOUT_S = 60.0
ATTEMPTS = 3
NOT_MEASURED = (429, 503)
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True)
class ToolCall:
    """A call as the agent reports it."""

    name: str
    arguments: dict[str, Any]
    status: str

    def __str__(self) -> str:
        return f"{self.name}({', '.join(str(value) for value in self.arguments.values())})"


@dataclass(frozen=True)
class Reply:
    """One turn as it was seen from outside.

    Args:
        asked_at: UTC.
        seconds: until the whole answer was there.
        problem: the agent's own error; empty when it answered.
    """

    asked_at: datetime
    seconds: float
    response: str = ""
    session_id: str = ""
    calls: tuple[ToolCall, ...] = ()
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"asked_at": self.asked_at.isoformat()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Reply:
        calls = tuple(ToolCall(**call) for call in data["calls"])
        return cls(**data | {"asked_at": datetime.fromisoformat(data["asked_at"]), "calls": calls})


class NotMeasured(Exception):
    """No answer that says anything about the agent. `seconds` is how long it was waited for."""

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        self.reason, self.seconds = reason, seconds
        super().__init__(reason)


class AgentClient:
    """One agent. Safe to use from many threads."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._http = httpx.Client(timeout=timeout_s, limits=httpx.Limits(max_connections=100))

    def __enter__(self) -> AgentClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def reach(self) -> None:
        """Raises: NotMeasured: nobody listens there, or it is not ready."""
        response = self._request("GET", "/readyz", None)
        if response.status_code != 200:
            raise NotMeasured(f"{self._url}/readyz answered {response.status_code}: {_told(response)}")

    def ask(self, prompt: str, session_id: str | None = None) -> Reply:
        """One turn. Raises: NotMeasured."""
        body = {"prompt": prompt} | ({"session_id": session_id} if session_id else {})
        for last in (*[False] * (ATTEMPTS - 1), True):
            asked_at, started = datetime.now(UTC), time.perf_counter()
            response = self._request("POST", "/agent", body)
            if response.status_code not in NOT_MEASURED:
                return _reply(response, asked_at, time.perf_counter() - started)
            if last:
                raise NotMeasured(f"{self._url}/agent answered {response.status_code}: {_told(response)}")
            time.sleep(_pause(response))
        raise AssertionError("unreachable")

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
    if response.status_code != 200:
        return Reply(asked_at, seconds, problem=f"the agent answered {response.status_code}: {_told(response)}")
    try:
        data = response.json()
        calls = tuple(ToolCall(c["name"], dict(c["arguments"]), c["status"]) for c in data["tools"])
        return Reply(asked_at, seconds, str(data["response"]), str(data["session_id"]), calls)
    except (ValueError, KeyError, TypeError) as error:
        raise NotMeasured(f"{response.url} is no agent: its answer has another form ({error!r})") from error


def _told(response: httpx.Response) -> str:
    try:
        body = response.json()
        return str(body["reason"] if "reason" in body else body["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def _pause(response: httpx.Response) -> float:
    asked_for = response.headers.get("Retry-After", "1")
    return min(float(asked_for) if asked_for.isdigit() else 1.0, _LONGEST_PAUSE_S)
