"""Send requests of a task and note when their answers arrived: completions part by part, all others whole.

Every request has its own deadline, and all of them share one. A request that was not sent in time is an observation
with an error. So a report always counts all requests. The client uses asyncio and httpx directly, because
the time of every chunk counts.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx

from genai_pipeline.core.errors import EngineUnavailable, Refused
from genai_pipeline.core.task import Task
from genai_pipeline.gateways.inference.chat_answer import END, arrived, own_words, stream_event
from genai_pipeline.gateways.inference.task_endpoint import endpoint_of
from genai_pipeline.loadtest.prompts import prompt
from genai_pipeline.loadtest.summary import Observation

_SAME_LENGTH = {"ignore_eos": True}
"""A field of vLLM: every answer has max_tokens tokens, so that releases can be compared."""

_CONNECT_S = 5.0


class _Broken(Exception):
    """The engine did not answer as its task asks. The text is the cause."""


@dataclass
class _Arrivals:
    """When the parts of one answer came, by `time.perf_counter`. Of an answer that is not streamed only `usage` is set.

    Args:
        tokens: arrivals of thoughts, words and pieces of tool calls.
        first_answer: arrival of the first word or piece of a tool call: thoughts are over.
    """

    first_event: float | None = None
    tokens: list[float] = field(default_factory=list[float])
    first_answer: float | None = None
    usage: dict[str, Any] | None = None
    ended: bool = False


class LoadClient:
    """One endpoint under load; use as an async context manager.

    Args:
        base_url: `http://host:port`, without `/v1`.
        max_tokens: length of every answer, where the engine accepts `ignore_eos`.
        request_deadline_s: seconds for one request.
        deadline_s: seconds for all requests, from now on.
        same_length: whether the engine accepts `ignore_eos`; False from the begin for a task that generates nothing.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        task: Task,
        max_tokens: int,
        request_deadline_s: float,
        deadline_s: float,
        same_length: bool = True,
    ) -> None:
        self.task = task
        self.same_length = task.generates and same_length
        self._endpoint = endpoint_of(task)
        self._url = f"{base_url.rstrip('/')}/v1{self._endpoint.path}"
        self._health = f"{base_url.rstrip('/')}/health"
        self._model = model
        self._max_tokens = max_tokens
        self._request_deadline_s = request_deadline_s
        self._deadline_s = deadline_s
        self._started_at = time.perf_counter()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = httpx.AsyncClient(limits=limits, timeout=request_deadline_s, trust_env=False)

    async def __aenter__(self) -> LoadClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def warm_up(self, concurrency: int) -> None:
        """Let the engine compile and allocate before requests count, and find out which fields it accepts.

        Raises: EngineUnavailable, Refused: no answer came back; the message says why.
        """
        first = await self.send(-1, 1)
        if first.error.startswith("HTTP 400") and self.same_length:
            self.same_length = False
            first = await self.send(-1, 1)
        if first.error:
            kind = Refused if first.error.startswith("HTTP 4") else EngineUnavailable
            what = f"The first request to {self._url} failed: {first.error.rstrip('.')}."
            raise kind(what, "See the engine's log.")
        await asyncio.gather(*(self.send(-2 - n, concurrency) for n in range(concurrency)))

    async def connect(self, connections: int) -> None:
        """Open connections, so that no measured time holds the begin of one. Engines close idle ones after seconds.

        What does not answer shows in the requests.
        """

        async def open_one() -> None:
            with suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    await self._http.get(self._health)

        await asyncio.gather(*(open_one() for _ in range(connections)))

    async def send(self, number: int, concurrency: int) -> Observation:
        """Send the prompt with that number. An error is part of the observation."""
        started = time.perf_counter()
        left = self._deadline_s - (started - self._started_at)
        arrivals, error = _Arrivals(), ""
        if left <= 0:
            error = f"not sent: the deadline of {self._deadline_s:g} s for the whole load was over"
        else:
            allowed_s = min(self._request_deadline_s, left)
            try:
                async with asyncio.timeout(allowed_s):
                    await (self._stream if self.task.generates else self._whole)(number, arrivals)
            except (TimeoutError, httpx.TimeoutException):
                error = f"no whole answer within {allowed_s:.3g} s"
            except httpx.HTTPError as problem:
                error = f"connection: {str(problem).rstrip('.') or type(problem).__name__}"
            except _Broken as problem:
                error = str(problem)
        ended = time.perf_counter()
        return self._observation(number, concurrency, started, ended, arrivals, error)

    async def _stream(self, number: int, arrivals: _Arrivals) -> None:
        body = self._endpoint.body(self._model, prompt(number), self._max_tokens)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        body |= _SAME_LENGTH if self.same_length else {}
        async with self._http.stream("POST", self._url, json=body) as response:
            if response.status_code != 200:
                raise _Broken(f"HTTP {response.status_code}: {own_words(await response.aread())}")
            async for line in response.aiter_lines():
                _note(line, time.perf_counter(), arrivals)
        if not arrivals.ended:
            raise _Broken("the stream ended before its last chunk")
        if arrivals.usage is None:
            raise _Broken("the stream had no usage: tokens cannot be counted")

    async def _whole(self, number: int, arrivals: _Arrivals) -> None:
        body = self._endpoint.body(self._model, prompt(number), self._max_tokens)
        response = await self._http.post(self._url, json=body)
        if response.status_code != 200:
            raise _Broken(f"HTTP {response.status_code}: {own_words(response.content)}")
        try:
            answer = self._endpoint.read(response.content)
        except ValueError as error:
            raise _Broken(str(error)) from error
        if answer.fault:
            raise _Broken(answer.fault)
        arrivals.usage = {"prompt_tokens": answer.prompt_tokens}

    def _observation(
        self, number: int, concurrency: int, started: float, ended: float, arrivals: _Arrivals, error: str
    ) -> Observation:
        usage = arrivals.usage or {}
        times, answer = arrivals.tokens, arrivals.first_answer
        first = times[0] if times else arrivals.first_event
        return Observation(
            number=number,
            concurrency=concurrency,
            started_s=started - self._started_at,
            duration_s=ended - started,
            ttft_s=None if first is None else first - started,
            answer_s=None if answer is None else answer - started,
            gaps_s=tuple(later - earlier for earlier, later in itertools.pairwise(times)),
            prompt_tokens=int(usage.get("prompt_tokens", 0)),
            completion_tokens=int(usage.get("completion_tokens", 0)),
            error=error,
        )


def _note(line: str, now: float, arrivals: _Arrivals) -> None:
    """Take in one line of the stream that arrived at `now`."""
    arrivals.ended = arrivals.ended or line == END
    try:
        event = stream_event(line)
        if event is None:
            return
        arrivals.usage = event.get("usage") or arrivals.usage
        for choice in event["choices"]:
            arrivals.first_event = arrivals.first_event or now
            thinks, answers = arrived(choice)
            if thinks or answers:
                arrivals.tokens.append(now)
            if answers:
                arrivals.first_answer = arrivals.first_answer or now
    except ValueError as error:
        raise _Broken(str(error)) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise _Broken(f"not a chunk of a chat completion: {line[:100]!r}") from error
