"""When requests are sent: a closed loop, in steps of growing concurrency. `plan_steps` is pure."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from genai_pipeline.loadtest.summary import Observation

_LEAST_PER_STEP = 3
_SHARE_OF_THE_WAY_UP = 3
"""At most every third request is spent below the concurrency that the gate is about."""


@dataclass(frozen=True)
class Step:
    concurrency: int
    requests: int


def plan_steps(requests: int, at_concurrency: int) -> list[Step]:
    """1, 2, 4 … `at_concurrency`, within the budget of `requests`; most of them go to the last step."""
    budget = requests // _SHARE_OF_THE_WAY_UP
    steps: list[Step] = []
    concurrency = 1
    while concurrency < at_concurrency and (cost := max(_LEAST_PER_STEP, concurrency)) <= budget:
        steps.append(Step(concurrency, cost))
        budget -= cost
        concurrency *= 2
    left = requests - sum(step.requests for step in steps)
    return [*steps, Step(at_concurrency, max(1, left))]


async def closed_loop(
    numbers: Sequence[int], concurrency: int, send: Callable[[int], Awaitable[Observation]]
) -> list[Observation]:
    """Keep `concurrency` requests under way until all are done: each answer lets the next one go."""
    waiting = iter(numbers)
    done: list[Observation] = []

    async def user() -> None:
        for number in waiting:
            done.append(await send(number))

    await asyncio.gather(*(user() for _ in itertools.repeat(None, min(concurrency, len(numbers)))))
    return sorted(done, key=lambda o: o.number)
