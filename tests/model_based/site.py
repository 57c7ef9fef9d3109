"""A whole installation in memory: the real controller and engines over a fake world, and a Dagster of thirty lines.

Nothing happens by itself: ticks, steps of runs, watches and prunes are asked for, one at a time, each with a fault or
without one. There are no threads and no sleeps, and the clock is turned by context.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import SimpleNamespace
from typing import NoReturn

from genai_pipeline.assets import live as live_asset
from genai_pipeline.assets.agent_candidate import agent_candidate
from genai_pipeline.assets.agent_report import agent_report
from genai_pipeline.assets.candidate import candidate
from genai_pipeline.assets.capacity import capacity
from genai_pipeline.assets.release_asset import AssetResult, ReleaseAsset, ReleaseContext, carry_out
from genai_pipeline.assets.serving_report import serving_report
from genai_pipeline.assets.snapshot import snapshot
from genai_pipeline.assets.staged_model import staged_model
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.manifest import Manifest, ManifestFile, manifest_key, staged_prefix
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.model_spec import NO_AGENT, AgentSpec, ModelSpec
from genai_pipeline.core.purpose import checks_of
from genai_pipeline.core.record import Live, Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome, Verdict
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.control.approval import Approvals
from genai_pipeline.rollout.control.controller import ActiveRun, Controller, ControllerTick, RequestedRun
from genai_pipeline.rollout.record.record_cache import RecordCache
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.switch.rollback import RollBack
from genai_pipeline.rollout.switch.traffic import Traffic
from genai_pipeline.staging.prune_decision import Reference
from genai_pipeline.staging.pruner import Pruner
from genai_pipeline.staging.references import references_to
from tests.fakes.model_texts import TOOL_ARGS, model_with_tools
from tests.fakes.world import PROFILE, World
from tests.model_based.faulty import Fault, FaultyCluster, FaultySleepers, FaultyStore, surviving

MODELS = ("one", "two", "three")
ON_RAY, SLEEPS = "two", "three"
SERVING = {
    ON_RAY: "serving: {engine: ray, image: 'ray:2.60.0'}\n",
    SLEEPS: "serving: {standby: sleep, gpu: {}}\n",
}
MOST = 2
GRACE_S = 120.0
MONDAY = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class InMemory(Engines):
    """The engines with the site's clock, and without waiting."""

    def __init__(self, site: Site) -> None:
        super().__init__(PROFILE, site.world.gateways())
        object.__setattr__(self, "_site", site)

    def records(self) -> Records:
        return Records(self.gateways.store, now=self._site.now_text)

    def candidates(self) -> Candidates:
        return Candidates(self.gateways, PROFILE, sleep=lambda _: None)

    def traffic(self) -> Traffic:
        return Traffic(self.gateways, PROFILE, sleep=lambda _: None)

    def approvals(self) -> Approvals:
        return Approvals(self.records(), self.notices(), PROFILE.dagster_url, self._site.now_text)

    def roll_back(self) -> RollBack:
        return RollBack(self.gateways, self.records(), self.candidates(), self.traffic(), self._site.now_text)

    def controller(self) -> Controller:
        ledger = RecordCache(self.gateways.store)
        return Controller(self.records(), ledger, self.ending(), self.approvals(), self._site.revisions, MOST)


@dataclass
class Run:
    """One run: the assets that it still has to do. `spec` is the model file as it was read when it began."""

    kind: str
    spec: ModelSpec
    release: str
    left: list[ReleaseAsset]

    @property
    def model(self) -> str:
        return self.spec.name


@dataclass(frozen=True)
class Move:
    """A release went live, by a run that had read this model file."""

    spec: ModelSpec
    record: Record
    at: datetime


@dataclass
class Site:
    """See the module.

    Attributes:
        outcomes: model -> what its reports say of each revision: passed, failed or inconclusive.
        ever: run keys that were requested.
        moves: what went live since somebody looked.
    """

    now: datetime = MONDAY
    runs: dict[str, Run] = field(default_factory=dict)
    specs: dict[str, ModelSpec] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    ever: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)

    def __post_init__(self) -> None:
        store = FaultyStore(clock=lambda: self.now.timestamp())
        self.world = World(store=store, cluster=FaultyCluster(), sleepers=FaultySleepers())
        self.engines = InMemory(self)
        self.controller = self.engines.controller()
        for name in MODELS:
            text = f"name: {name}\nsource: {{hub: owner/{name}, ref: {name}}}\nrollout: {{watch_minutes: 5}}\n"
            text += SERVING.get(name, "")
            self.specs[name] = model_with_tools(text, name)

    def now_text(self) -> str:
        return self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # What somebody outside does

    def publish(self, model: str, content: str, outcome: Outcome) -> None:
        revision = hashlib.sha1(f"{model} {content}".encode()).hexdigest()
        self.world.hub.revisions.setdefault(revision, {"config.json": content.encode()})
        self.world.hub.refs[model] = revision
        self.outcomes.setdefault(revision, outcome)

    def change_rollout(self, model: str, **changes: object) -> None:
        spec = self.specs[model]
        rollout = type(spec.rollout).model_validate(spec.rollout.model_dump(by_alias=True) | changes)
        self.specs[model] = spec.model_copy(update={"rollout": rollout})

    def change_agent(self, model: str, wanted: bool) -> None:
        agent = AgentSpec() if wanted else NO_AGENT
        self.specs[model] = self.specs[model].model_copy(update={"agent": agent})

    def change_serving(self, model: str, length: int) -> None:
        spec = self.specs[model]
        serving = spec.serving.model_copy(update={"args": TOOL_ARGS | {"max-model-len": length}})
        self.specs[model] = spec.model_copy(update={"serving": serving})

    # What Dagster does

    def tick(self, fault: Fault | None = None, requests_are_lost: bool = False) -> ControllerTick:
        """One tick of the version sensor and the launch of what it asks for; a run key is launched once, ever."""
        tick = ControllerTick()
        with surviving(fault):
            under_way = [ActiveRun(run.model, f"{run.kind} of {run.release}") for run in self.runs.values()]
            tick = self.controller.tick(list(self.specs.values()), under_way, self.now)
        self.said = tick.notes
        for start in tick.starts:
            assert start.run_key not in self.ever, f"{start.run_key} was requested twice"
            assert start.spec.name not in self.runs, f"two runs of {start.spec.name} at once"
            self.ever.add(start.run_key)
            if not requests_are_lost:
                self.runs[start.spec.name] = self._run_of(start)
        return tick

    def _run_of(self, start: RequestedRun) -> Run:
        asked = checks_of(start.spec)
        assets = (
            [asset for asset in self.assets if asset.name in asked] if start.kind == "rollout" else [live_asset.live]
        )
        return Run(start.kind, start.spec, start.release, assets)

    def launch_live_by_hand(self, model: str, release: str) -> None:
        """Somebody materializes m/live in the UI."""
        if model not in self.runs:
            self.runs[model] = Run("by hand", self.specs[model], release, [live_asset.live])

    def step(self, model: str, fault: Fault | None = None) -> None:
        """The next asset of a model's run."""
        run, before = self.runs[model], self.engines.records().live(model)
        live_asset.utc_now = self.now_text
        ended = True
        with surviving(fault):
            asset = run.left.pop(0)
            _, error = carry_out(asset, self._context_of(run, asset.name), self.engines, self._resources(asset))
            ended = bool(error) or not run.left
        if ended:
            del self.runs[model]
        live = self.engines.records().live(model)
        if live and (before is None or before.release != live.release):
            self.moves.append(Move(run.spec, self.engines.records().require(model, live.release), self.now))

    def _resources(self, asset: ReleaseAsset) -> dict[str, object]:
        """Only `live` does its own work here, and it asks for the engines alone."""
        return {"rollout": SimpleNamespace(engines=lambda: self.engines)} if asset.name == "live" else {}

    def _context_of(self, run: Run, asset: str) -> ReleaseContext:
        record = self.engines.records().require(run.model, run.release)
        spec = run.spec.as_released(record.model_spec)
        log = self.engines.overtaking().watched(record, lambda _: None)
        release, asked = Release.of(spec, record.revision), checks_of(spec)[asset]
        return ReleaseContext(spec, release, record, asked, log, lambda _: None, _no_session)

    def kill(self, model: str) -> None:
        self.runs.pop(model, None)

    # What the watch and the other schedules do

    def watch(self, fault: Fault | None = None) -> None:
        """The clockwork of the watch: what was begun is finished, and every watch ends. It judges nothing here."""
        for model in [name for name in MODELS if name not in self.runs]:
            with surviving(fault):
                if self.engines.roll_back().unfinished(model):
                    self.engines.roll_back().finish(model, self.said.append)
                live = self.engines.records().live(model)
                if live and live.watched_until and datetime.fromisoformat(live.watched_until) <= self.now:
                    self._end_watch(model, live)

    def _end_watch(self, model: str, live: Live) -> None:
        if live.last_good:
            self.engines.candidates().stop(self.engines.records().require(model, live.last_good).as_release)
        self.engines.records().end_watch(model, live.release)

    def roll_back(self, model: str, fault: Fault | None = None) -> None:
        """What a breach does, or somebody by hand; also while a rollout is under way."""
        with surviving(fault):
            self.engines.roll_back().begin(model, "it misbehaves", "somebody")

    def prune(self, fault: Fault | None = None) -> None:
        files = ModelFiles(tuple(self.specs.values()), ())
        store, source = self.world.store, self.engines.gateways.source

        def running() -> list[Reference]:
            return [Reference("", run.release.partition("-")[0], "a run") for run in self.runs.values()]

        with surviving(fault):
            pruner = Pruner(store, lambda models: references_to(models, store, source, files, running), GRACE_S)
            pruner.carry_out(pruner.plan())

    def revisions(self, specs: list[ModelSpec]) -> dict[str, str | GenaiError]:
        found: dict[str, str | GenaiError] = {}
        for spec in specs:
            try:
                found[spec.name] = self.engines.gateways.source(spec.source).resolve(spec.source.hub, spec.source.ref)
            except GenaiError as error:
                found[spec.name] = error
        return found

    # The graph, with what needs a network replaced

    @cached_property
    def assets(self) -> tuple[ReleaseAsset, ...]:
        return (
            replace(snapshot, work=lambda context: _all(context)),
            replace(staged_model, work=self._stage),
            replace(capacity, work=lambda context: replace(_all(context), facts=Facts(strategy="blue_green"))),
            replace(candidate, work=self._start),
            replace(serving_report, work=self._measure),
            replace(agent_candidate, work=self._start_agent),
            replace(agent_report, work=lambda context: _all(context, self._outcome(context))),
        )

    def _stage(self, context: ReleaseContext) -> AssetResult:
        model, revision, store = context.release.model, context.release.revision, self.world.store
        body = revision.encode()
        etag = store.put(f"{staged_prefix(model, revision)}weights", body)
        files = (ManifestFile("weights", len(body), hashlib.sha256(body).hexdigest(), etag),)
        manifest = Manifest(model, "owner/x", revision, files, "a test", self.now_text())
        store.put(manifest_key(model, revision), manifest.to_bytes())
        return _all(context)

    def _start(self, context: ReleaseContext) -> AssetResult:
        self.engines.candidates().start_engine(context.spec, context.release, context.log)
        return _all(context)

    def _measure(self, context: ReleaseContext) -> AssetResult:
        if self.engines.traffic().on(context.release.model, "agent") != context.release.id:
            self.engines.candidates().stop_agent(context.release)
        return _all(context, self._outcome(context))

    def _start_agent(self, context: ReleaseContext) -> AssetResult:
        self.engines.candidates().start_agent(context.spec, context.release, context.log)
        return _all(context)

    def _outcome(self, context: ReleaseContext) -> Outcome:
        if context.release.id in self.world.broken_engines:
            return Outcome.INCONCLUSIVE
        return self.outcomes[context.release.revision]


def _no_session(*_: object) -> NoReturn:
    raise AssertionError("no load is sent here")


def _all(context: ReleaseContext, outcome: Outcome = Outcome.PASSED) -> AssetResult:
    return AssetResult([Verdict(check, outcome, f"it {outcome}") for check in context.checks])
