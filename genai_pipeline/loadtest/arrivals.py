"""Decide when requests are sent: in a closed loop, in steps of growing concurrency. `plan_steps` is pure."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from genai_pipeline.loadtest.summary import MIN_OBSERVATIONS, Observation

_LEAST_PER_STEP = 3
_SHARE_OF_THE_WAY_UP = 3
"""At most a third of the requests is used below the concurrency of the gate."""


@dataclass(frozen=True)
class LoadStep:
    """Requests that are sent at one concurrency."""

    concurrency: int
    requests: int


def plan_steps(requests: int, at_concurrency: int) -> list[LoadStep]:
    """Return steps at 1, 2, 4 … `at_concurrency`, with `requests` in all; the last step gets most of them.

    The last step has MIN_OBSERVATIONS requests also where that makes them more: from fewer nothing can be judged, so a
    release would wait for all its attempts and then be rejected without a verdict.
    """
    budget = requests // _SHARE_OF_THE_WAY_UP
    steps: list[LoadStep] = []
    concurrency = 1
    while concurrency < at_concurrency and (cost := max(_LEAST_PER_STEP, concurrency)) <= budget:
        steps.append(LoadStep(concurrency, cost))
        budget -= cost
        concurrency *= 2
    left = requests - sum(step.requests for step in steps)
    return [*steps, LoadStep(at_concurrency, max(MIN_OBSERVATIONS, left))]


async def closed_loop(
    numbers: range, concurrency: int, send: Callable[[int], Awaitable[Observation]], least_s: float = 0.0
) -> list[Observation]:
    """Send all requests and return what was observed; each answer starts the next request.

    Args:
        numbers: of the prompts.
        concurrency: requests under way at once.
        least_s: seconds for which further requests are sent, where the given ones are over sooner.
    """
    ends_at = time.monotonic() + least_s
    more = itertools.takewhile(lambda _: time.monotonic() < ends_at, itertools.count(numbers.stop))
    waiting = itertools.chain(numbers, more)
    done: list[Observation] = []

    async def user() -> None:
        for number in waiting:
            done.append(await send(number))

    users = concurrency if least_s else min(concurrency, len(numbers))
    await asyncio.gather(*(user() for _ in range(users)))
    return sorted(done, key=lambda o: o.number)
