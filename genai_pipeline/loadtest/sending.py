"""Send the measured requests of a load, from the process of the run or from another one.

A `LoadPlan` is all that a sender has to know, and observations are all that it gives back. Both are plain data. So what
is asked and what is judged are the same, wherever the requests come from. `python -m genai_pipeline.loadtest` is the
same sender in a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from genai_pipeline.core.progress import Log
from genai_pipeline.core.task import Task
from genai_pipeline.loadtest.arrivals import closed_loop, plan_steps
from genai_pipeline.loadtest.load_client import LoadClient
from genai_pipeline.loadtest.summary import Observation


@dataclass(frozen=True)
class LoadPlan:
    """The measured requests of one load.

    Args:
        base_url: `http://host:port` of the engine, without `/v1`.
        requests, at_concurrency: of the gates.
        max_tokens: length of every answer.
        same_length: whether the engine accepts the field that forces this length.
        least_s: seconds that the last step lasts at least.
        request_deadline_s: seconds for one answer.
        deadline_s: seconds for all answers.
    """

    base_url: str
    model: str
    task: Task
    requests: int
    at_concurrency: int
    max_tokens: int
    same_length: bool
    least_s: float
    request_deadline_s: float
    deadline_s: float

    def client(self) -> LoadClient:
        """Return a client whose time for all answers begins now."""
        return LoadClient(
            self.base_url,
            self.model,
            self.task,
            self.max_tokens,
            self.request_deadline_s,
            self.deadline_s,
            self.same_length,
        )


Sender = Callable[[LoadPlan, Log], Sequence[Observation]]
"""Sends what a plan says, with a line for each step. Raises GenaiError: the observations are not there."""

PLAN: TypeAdapter[LoadPlan] = TypeAdapter(LoadPlan)
OBSERVATIONS: TypeAdapter[list[Observation]] = TypeAdapter(list[Observation])
"""To and from JSON."""


def send_from_here(plan: LoadPlan, say: Log) -> list[Observation]:
    """Send the requests from this process. Must not be called inside an event loop."""
    return asyncio.run(_send(plan, say))


async def _send(plan: LoadPlan, say: Log) -> list[Observation]:
    observations: list[Observation] = []
    steps = plan_steps(plan.requests, plan.at_concurrency)
    async with plan.client() as client:
        for step in steps:
            say(f"{step.requests} requests, {step.concurrency} at a time.")
            numbers = range(len(observations), len(observations) + step.requests)
            await client.connect(step.concurrency)
            least_s = plan.least_s if step is steps[-1] else 0.0
            observations += await closed_loop(
                numbers, step.concurrency, lambda n, c=step.concurrency: client.send(n, c), least_s
            )
    return observations
