"""Hold a load that asks for one more replica until that replica serves, and take the time."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.progress import Log
from genai_pipeline.core.task import Task
from genai_pipeline.loadtest.load_client import LoadClient
from genai_pipeline.loadtest.summary import Observation

POLL_S = 1.0
_LAST_ANSWERS_S = 60.0


@dataclass(frozen=True)
class ScaleOutLoad:
    """The load to hold.

    Args:
        concurrency: requests under way at once. They are more than the replicas that run are meant to have.
        within_s: seconds for the new replica to serve.
        adds_replicas: asks whether the engine is adding replicas just now.
    """

    concurrency: int
    within_s: float
    adds_replicas: Callable[[], bool]


@dataclass(frozen=True)
class ScaleOut:
    """What was seen.

    Args:
        asked_s: seconds from the begin of the load until a replica was asked for; None: it was not.
        served_s: seconds from then until it served; None: it did not in time.
        observations: every request of the load.
    """

    asked_s: float | None
    served_s: float | None
    observations: Sequence[Observation]

    @property
    def figures(self) -> dict[str, Any]:
        """Return the figures of the serving report. Times are in seconds."""
        return {
            "scale_out_asked_s": None if self.asked_s is None else round(self.asked_s, 1),
            "scale_out_served_s": None if self.served_s is None else round(self.served_s, 1),
            "scale_out_requests": len(self.observations),
            "scale_out_failed": sum(not each.ok for each in self.observations),
        }


async def hold_until_scaled(
    url: str, model: str, task: Task, tokens: int, request_deadline_s: float, load: ScaleOutLoad, say: Log
) -> ScaleOut:
    """Hold the load until one more replica serves, or until its time is over.

    Args:
        url: `http://host:port`, without `/v1`.
        tokens: length of every answer.
        request_deadline_s: seconds for one answer.
    """
    say(f"{load.concurrency} requests at a time until one more replica serves, for at most {load.within_s:g} s.")
    over = asyncio.Event()
    numbers, seen = itertools.count(), list[Observation]()

    async def user(client: LoadClient) -> None:
        while not over.is_set():
            seen.append(await client.send(next(numbers), load.concurrency))
            if not seen[-1].ok:  # refusals come at once, and would be asked for by the thousand
                await asyncio.sleep(POLL_S)

    client = LoadClient(url, model, task, tokens, request_deadline_s, load.within_s + _LAST_ANSWERS_S)
    async with client, asyncio.TaskGroup() as users:
        for _ in range(load.concurrency):
            users.create_task(user(client))
        asked_s, served_s = await _watched(load, say)
        over.set()
    return ScaleOut(asked_s, served_s, seen)


async def _watched(load: ScaleOutLoad, say: Log) -> tuple[float | None, float | None]:
    began = time.monotonic()
    asked_s = None
    while (now_s := time.monotonic() - began) < load.within_s:
        adding = await asyncio.to_thread(_adds_replicas, load)
        if adding and asked_s is None:
            asked_s = now_s
            say(f"One more replica was asked for after {now_s:.0f} s.")
        if asked_s is not None and adding is False:
            say(f"It served {now_s - asked_s:.0f} s later.")
            return asked_s, now_s - asked_s
        await asyncio.sleep(POLL_S)
    say(f"No further replica served within {load.within_s:g} s.")
    return asked_s, None


def _adds_replicas(load: ScaleOutLoad) -> bool | None:
    """Return None where the cluster does not say: the next question may be answered."""
    try:
        return load.adds_replicas()
    except GenaiError:
        return None
