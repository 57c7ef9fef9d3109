"""The one resource of the graph: the engines, built for the profile on first use."""

from __future__ import annotations

from functools import cached_property

from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.resources.profile import gateways_for
from genai_pipeline.rollout.control.approval import Approvals
from genai_pipeline.rollout.control.controller import Controller
from genai_pipeline.rollout.control.overtaking import Overtaking
from genai_pipeline.rollout.control.resolving import Resolver
from genai_pipeline.rollout.record.delivery import Delivery
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.record_cache import RecordCache
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.switch.cutover import CutOver
from genai_pipeline.rollout.switch.ending import Ending
from genai_pipeline.rollout.switch.rollback import RollBack
from genai_pipeline.rollout.switch.traffic import Traffic
from genai_pipeline.rollout.upkeep.redeploy import Redeploy
from genai_pipeline.rollout.watch.live_watch import LiveWatch
from genai_pipeline.rollout.watch.reading import Reader
from genai_pipeline.rollout.watch.watcher import Ask, Watcher


class Platform:
    """Gateways and rollout engines of one installation. Making it touches no network.

    Args:
        profile, gateways: given by tests; else what the environment says, on first use.
    """

    def __init__(self, profile: Profile | None = None, gateways: Gateways | None = None) -> None:
        self._profile = profile
        self._gateways = gateways

    @cached_property
    def profile(self) -> Profile:
        return self._profile or Profile.load()

    @cached_property
    def gateways(self) -> Gateways:
        return self._gateways or gateways_for(self.profile)

    @cached_property
    def records(self) -> Records:
        return Records(self.gateways.store)

    @cached_property
    def candidates(self) -> Candidates:
        return Candidates(self.gateways, self.profile)

    @cached_property
    def traffic(self) -> Traffic:
        return Traffic(self.gateways, self.profile)

    @cached_property
    def cut_over(self) -> CutOver:
        return CutOver(self.gateways, self.records, self.candidates, self.traffic)

    @cached_property
    def notices(self) -> Notices:
        return Notices(self.gateways.store)

    @cached_property
    def redeploy(self) -> Redeploy:
        return Redeploy(self.gateways.cluster, self.records, self.traffic, self.notices, self.profile)

    @cached_property
    def delivery(self) -> Delivery:
        return Delivery(self.notices, self.gateways.webhook, self.profile.ui_page)

    @cached_property
    def ending(self) -> Ending:
        return Ending(self.records, self.candidates, self.traffic, self.notices)

    @cached_property
    def overtaking(self) -> Overtaking:
        return Overtaking(self.records, self.ending)

    @cached_property
    def approvals(self) -> Approvals:
        return Approvals(self.records, self.notices, self.profile.dagster_url)

    @cached_property
    def controller(self) -> Controller:
        ledger, resolver = RecordCache(self.gateways.store), Resolver(self.gateways.source)
        return Controller(
            self.records, ledger, self.ending, self.approvals, resolver.revisions, self.profile.max_rollouts
        )

    @cached_property
    def roll_back(self) -> RollBack:
        return RollBack(self.gateways, self.records, self.candidates, self.traffic)

    def live_watch(self, ask: Ask | None) -> LiveWatch:
        """`ask` puts a question to a live agent: the engines do not know each other, so it is handed in."""
        reader = Reader(self.gateways, self.candidates, self.traffic)
        watcher = Watcher(reader, self.records, self.candidates, self.roll_back, self.notices, ask)
        return LiveWatch(RecordCache(self.gateways.store), self.records, self.roll_back, watcher, self.traffic)
