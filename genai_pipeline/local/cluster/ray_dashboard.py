"""Keeps Ray Serve to a RayService's configuration, through the dashboard of its head, as KubeRay does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

POLL_S = 2.0
TIMEOUT_S = 30.0
PATH = "/api/serve/applications/"
SAID_MAX = 500


@dataclass(frozen=True)
class Wanted:
    """Where the dashboard is, and what Serve shall run."""

    url: str
    token: str
    config: Mapping[str, Any]


class ServeApplications:
    """`applications` is what the dashboard said last.

    Args:
        report: called with type, reason and message of an event.
        changed: called when `applications` became others.
    """

    def __init__(self, report: Callable[[str, str, str], None], changed: Callable[[], None]) -> None:
        self._report, self._changed = report, changed
        self.applications: Mapping[str, Any] = {}
        self._wanted: Wanted | None = None
        self._given: Mapping[str, Any] | None = None
        self._problem = ""
        self._task: asyncio.Task[None] | None = None

    def follow(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._task = self._task or asyncio.create_task(self._run())

    @property
    def are_given(self) -> bool:
        """Return whether Serve took a configuration."""
        return self._given is not None

    def stop(self) -> None:
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S) as client:
            while self._wanted:
                try:
                    await self._look(client, self._wanted)
                except (httpx.HTTPError, ValueError) as error:
                    self._say(f"{type(error).__name__}: {error}")
                await asyncio.sleep(POLL_S)

    async def _look(self, client: httpx.AsyncClient, wanted: Wanted) -> None:
        headers = {"Authorization": f"Bearer {wanted.token}"}
        answer = await client.get(wanted.url + PATH, headers=headers)
        answer.raise_for_status()
        found = answer.json()["applications"]
        if found != self.applications:
            self.applications = found
            self._changed()
        # A head that was started again has none.
        if found and self._given == wanted.config:
            return
        answer = await client.put(wanted.url + PATH, headers=headers, json=wanted.config)
        if answer.is_success:
            self._given, self._problem = wanted.config, ""
            self._report("Normal", "UpdatedServeApplications", "Updated serve applications")
        else:
            self._say(answer.text)

    def _say(self, problem: str) -> None:
        problem = problem[-SAID_MAX:]
        if problem != self._problem:
            self._problem = problem
            self._report(
                "Warning", "FailedToUpdateServeApplications", f"Failed to update serve applications: {problem}"
            )
