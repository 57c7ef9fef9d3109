"""The one Dagster resource of the graph: the engines, built for the profile on first use."""

from __future__ import annotations

from functools import cached_property

import dagster as dg

from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.resources.profile import gateways_for
from genai_pipeline.rollout.candidate import Candidates
from genai_pipeline.rollout.cutover import CutOver
from genai_pipeline.rollout.records import Records
from genai_pipeline.rollout.traffic import Traffic


class Platform(dg.ConfigurableResource):
    """Gateways and rollout engines of this installation. Loading it touches no network."""

    @cached_property
    def profile(self) -> Profile:
        return Profile.load()

    @cached_property
    def gateways(self) -> Gateways:
        return gateways_for(self.profile)

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
