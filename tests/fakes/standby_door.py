"""The door of the in-memory engines: they sleep and wake as vLLM behind `k8s/sleeping.py` does, and fail as told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.core.errors import EngineUnavailable, NotFound
from genai_pipeline.gateways.inference.abc import StandbyDoor
from genai_pipeline.rollout.switch.engine_access import engine_token


@dataclass
class Sleepers:
    """What the engines of all releases do.

    Args:
        weights_away: releases whose weights are in the host's memory. Their engines answer nothing.
        wrong: releases that answer something else once they have slept.
        undecided: releases that give another answer each time.
        faults: names of methods of the door that fail; a `reply lost` does its work first.
        calls: methods and releases, as they came.
    """

    weights_away: set[str] = field(default_factory=set)
    slept: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    undecided: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def fault_of(self, what: str) -> str:
        """Return how this call fails: `refused`, `reply lost`, or not at all."""
        return self.faults.get(what, "")


class FakeStandbyDoor(StandbyDoor):
    def __init__(self, world: Any, url: str, token: str) -> None:
        self._world, self._url, self._token = world, url, token

    def is_sleeping(self) -> bool:
        return self._do("is_sleeping", lambda release, name: name in self._world.cluster.asleep)

    def known_answer(self, model: str) -> str:
        return self._do("known_answer", self._answer)

    def sleep(self, within_s: float) -> None:
        self._do("sleep", self._sleep)

    def wake_up(self, within_s: float) -> None:
        self._do("wake_up", lambda release, name: self._sleepers.weights_away.discard(release))

    def open(self) -> None:
        self._do("open", lambda release, name: self._world.cluster.turn_away(name, users=False))

    @property
    def _sleepers(self) -> Sleepers:
        return self._world.sleepers

    def _sleep(self, release: str, name: str) -> None:
        self._world.cluster.turn_away(name, users=True)
        self._sleepers.weights_away.add(release)
        self._sleepers.slept.add(release)

    def _answer(self, release: str, name: str) -> str:
        if release in self._sleepers.weights_away:
            raise EngineUnavailable(f"{self._url} did not answer.", "It sleeps, and vLLM keeps the request.")
        if release in self._sleepers.undecided:
            return f"{release} {len(self._sleepers.calls)}"
        return f"{release}, but other words" if release in self._sleepers.wrong & self._sleepers.slept else release

    def _do(self, what: str, work: Callable[[str, str], Any]) -> Any:
        served = self._world.served_behind(self._url)
        if "genai_sleeping.Sleeping" not in " ".join(served.args) or self._token != engine_token(self._world.cluster):
            raise NotFound(f"{self._url} answered 404.", "It has no such path.")
        name = f"{served.args[served.args.index('--served-model-name') + 1]}-{served.release}"
        self._forget_a_process_that_ended(served.release, name)
        self._sleepers.calls.append((what, served.release))
        fault = self._sleepers.fault_of(what)
        if fault == "refused":
            raise EngineUnavailable(f"{what} of {served.release} failed.", "See its log.")
        answer = work(served.release, name)
        if fault == "reply lost":
            raise EngineUnavailable(f"{what} of {served.release} was done, and its answer was lost.", "See its log.")
        return answer

    def _forget_a_process_that_ended(self, release: str, name: str) -> None:
        """A pod that was stopped has loaded its weights again when it answers."""
        if name not in self._world.cluster.asleep:
            self._sleepers.weights_away.discard(release)
            self._sleepers.slept.discard(release)
