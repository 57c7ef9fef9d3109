"""The rollout engines, built from settings and gateways. The Dagster resources and the CLI both build them here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.rollout.control.approval import Approvals
from genai_pipeline.rollout.control.controller import Controller
from genai_pipeline.rollout.control.overtaking import Overtaking
from genai_pipeline.rollout.control.resolving import Resolver
from genai_pipeline.rollout.record.delivery import Delivery
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.record_cache import RecordCache
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.cache_pins import CachePins
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.switch.cutover import CutOver
from genai_pipeline.rollout.switch.ending import Ending
from genai_pipeline.rollout.switch.rollback import RollBack
from genai_pipeline.rollout.switch.traffic import Traffic
from genai_pipeline.rollout.upkeep.redeployment import Redeploy
from genai_pipeline.rollout.watch.live_watch import LiveWatch
from genai_pipeline.rollout.watch.reading import Reader
from genai_pipeline.rollout.watch.watcher import Ask, Watcher

Engine = TypeVar("Engine")


@dataclass(frozen=True)
class Engines:
    """Builds the engines of one installation. Each call returns a new engine, and connects to nothing."""

    profile: Profile
    gateways: Gateways

    def records(self) -> Records:
        return Records(self.gateways.store)

    def notices(self) -> Notices:
        return Notices(self.gateways.store)

    def candidates(self) -> Candidates:
        return Candidates(self.gateways, self.profile)

    def cache_pins(self) -> CachePins:
        return CachePins(self.gateways.cluster, self.records(), self.profile)

    def traffic(self) -> Traffic:
        return Traffic(self.gateways, self.profile)

    def cut_over(self) -> CutOver:
        return CutOver(self.records(), self.candidates(), self.traffic())

    def roll_back(self) -> RollBack:
        return RollBack(self.gateways, self.records(), self.candidates(), self.traffic())

    def ending(self) -> Ending:
        return Ending(self.records(), self.candidates(), self.traffic(), self.notices())

    def overtaking(self) -> Overtaking:
        return Overtaking(self.records(), self.ending())

    def approvals(self) -> Approvals:
        return Approvals(self.records(), self.notices(), self.profile.dagster_url)

    def redeploy(self) -> Redeploy:
        return Redeploy(self.gateways.cluster, self.records(), self.traffic(), self.notices(), self.profile)

    def controller(self) -> Controller:
        ledger, resolver = RecordCache(self.gateways.store), Resolver(self.gateways.source)
        return Controller(
            self.records(), ledger, self.ending(), self.approvals(), resolver.revisions, self.profile.max_rollouts
        )

    def delivery(self) -> Delivery:
        """A delivery has a thread of its own: keep it from tick to tick."""
        return Delivery(self.notices(), self.gateways.webhook, self.profile.ui_page)

    def live_watch(self, ask: Ask | None) -> LiveWatch:
        """Return a watch, which remembers what it has seen: keep it from tick to tick.

        Args:
            ask: puts a question to a live agent. The engines do not import each other, so it is handed in.
        """
        reader = Reader(self.gateways, self.candidates(), self.traffic())
        watcher = Watcher(reader, self.records(), self.candidates(), self.roll_back(), self.notices(), ask)
        return LiveWatch(RecordCache(self.gateways.store), self.records(), self.roll_back(), watcher, self.traffic())


def kept(make: Callable[[Engines], Engine]) -> Callable[[Engines], Engine]:
    """Return a function that makes an engine once for each installation: a sensor's engine remembers earlier ticks."""
    known: dict[tuple[Profile, ObjectStore], Engine] = {}

    def engine_of(engines: Engines) -> Engine:
        installation = engines.profile, engines.gateways.store
        if installation not in known:
            known[installation] = make(engines)
        return known[installation]

    return engine_of
