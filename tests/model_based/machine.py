"""Random sequences of everything that can happen to rollouts, and what must hold after each of them."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.manifest import manifest_key
from genai_pipeline.core.record import ENDED_BADLY, ON_ITS_WAY, Live, Phase
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.k8s.render import stable_name
from tests.model_based.faulty import Fault
from tests.model_based.site import MODELS, MOST, Site

OFFICE_HOURS = "Mon-Fri 09:00-17:00"
models = st.sampled_from(MODELS)
outcomes = st.sampled_from([Outcome.PASSED, Outcome.PASSED, Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE])
calls = st.integers(1, 6)
faults = st.one_of(
    st.none(),
    st.builds(Fault, st.just("killed"), st.just("point"), calls),
    st.builds(Fault, st.sampled_from(["lost", "refused"]), st.sampled_from(["store", "cluster", "door"]), calls),
    st.builds(Fault, st.just("refused"), st.just("reading"), st.integers(1, 12)),
)
changes = st.sampled_from(
    [
        *(("length", 1024), ("length", 2048), ("approval", "manual"), ("approval", "auto")),
        *(("agent", False), ("agent", True)),
        *(("window", OFFICE_HOURS), ("window", None), ("paused", True), ("paused", False)),
    ]
)
STEPS = 8
"""Assets of a rollout and its promotion."""


class Rollouts(RuleBasedStateMachine):
    """Each rule is something that happens; nothing happens beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.site = Site()
        self.was_live: set[str] = set()
        self.quarantined: set[tuple[str, str]] = set()

    # What happens

    @initialize(versions=st.integers(0, 3))
    def some_versions_went_live_before(self, versions: int) -> None:
        for n in range(versions + 1):
            for model in MODELS:
                self.site.publish(model, f"v{n}", Outcome.PASSED)
            if n < versions:
                self.all_is_done_that_can_be(None, 1)
                self.all_is_done_that_can_be(None, 1)
        self.site.change_rollout(MODELS[1], approval="manual")

    @rule(model=models, content=st.sampled_from(["v1", "v2", "v3", "v4"]), outcome=outcomes)
    def a_version_is_published_or_the_ref_flips(self, model: str, content: str, outcome: Outcome) -> None:
        self.site.publish(model, content, outcome)

    @rule(model=models, change=changes)
    def the_model_file_changes(self, model: str, change: tuple[str, object]) -> None:
        name, value = change
        if name == "length":
            self.site.change_serving(model, value)
        elif name == "agent":
            self.site.change_agent(model, value)
        else:
            self.site.change_rollout(model, **{name: value})

    @rule(after_s=st.sampled_from([0, 5, 15, 400]), fault=faults, lost=st.sampled_from([False, False, False, True]))
    def tick(self, after_s: int, fault: Fault | None, lost: bool) -> None:
        self.site.pass_time(after_s)
        self.site.tick(fault, requests_are_lost=lost)

    @rule(model=models, steps=st.integers(1, STEPS), fault=faults)
    def the_run_goes_on(self, model: str, steps: int, fault: Fault | None) -> None:
        """The fault happens in the last of these steps."""
        model = self.one_of(model, lambda name: name in self.site.runs)
        for step in range(steps):
            if model in self.site.runs:
                self.site.step(model, fault if step == steps - 1 else None)

    @rule(fault=faults, at=st.integers(1, STEPS), rounds=st.integers(1, 4))
    def an_hour_passes(self, fault: Fault | None, at: int, rounds: int) -> None:
        """All that is to be done is done, but for a fault at one step of every run; so that sequences get far."""
        for _ in range(rounds):
            self.all_is_done_that_can_be(fault, at)

    @rule(model=models)
    def the_run_is_killed(self, model: str) -> None:
        self.site.kill(self.one_of(model, lambda name: name in self.site.runs))

    @rule(model=models, mended=st.booleans())
    def an_engine_breaks_or_all_are_mended(self, model: str, mended: bool) -> None:
        """The one that was started last, before it went live or after."""
        running = [d for d in self.site.world.cluster.list("Deployment") if d["metadata"]["name"].startswith(model)]
        self.site.world.broken_engines |= {d["metadata"]["labels"]["genai-pipeline/release"] for d in running[-1:]}
        if mended:
            self.site.world.broken_engines.clear()

    @rule(mended=st.booleans())
    def engines_wake_with_other_words_or_as_they_were(self, mended: bool) -> None:
        sleepers = self.site.world.sleepers
        sleepers.wrong = set() if mended else set(sleepers.slept)

    @rule()
    def someone_approves(self) -> None:
        records, approvals = self.site.engines.records(), self.site.engines.approvals()
        waiting = [r for model in MODELS for r in records.all(model) if r.phase is Phase.AWAITING_APPROVAL]
        for record in waiting:
            approvals.approve(record.model, record.release, "somebody")

    @rule(model=models, which=st.integers(0, 5))
    def someone_materializes_live_by_hand(self, model: str, which: int) -> None:
        known = self.site.engines.records().all(model)
        if known:
            self.site.launch_live_by_hand(model, known[which % len(known)].release)

    @rule(fault=faults)
    def the_watch_looks(self, fault: Fault | None) -> None:
        self.site.watch(fault)

    @rule(model=models, fault=faults)
    def live_misbehaves_and_is_rolled_back(self, model: str, fault: Fault | None) -> None:
        self.site.roll_back(self.one_of(model, self.has_a_last_good), fault)

    @rule(fault=faults)
    def prune(self, fault: Fault | None) -> None:
        self.site.prune(fault)

    @rule(minutes=st.sampled_from([1, 60, 12 * 60, -60]))
    def the_clock_is_turned(self, minutes: int) -> None:
        self.site.pass_time(minutes * 60)

    def all_is_done_that_can_be(self, fault: Fault | None, at: int) -> None:
        self.site.pass_time(900)
        self.site.watch()
        steps = dict.fromkeys(MODELS, 0)
        for _ in ("the proof", "the promotion"):
            self.site.tick()
            for model in list(self.site.runs):
                while model in self.site.runs:
                    steps[model] += 1
                    moves = self.site.runs[model].left[0].moves_traffic
                    self.site.step(model, fault if steps[model] == at or (moves and at == STEPS) else None)

    def one_of(self, model: str, chosen: Callable[[str], bool]) -> str:
        """`model` or the next one that is `chosen`, so that fewer steps of a sequence are in vain."""
        at = MODELS.index(model)
        return next(filter(chosen, MODELS[at:] + MODELS[:at]), model)

    def has_a_last_good(self, model: str) -> bool:
        live = self.pointer(model)
        return live is not None and live.last_good is not None

    # What holds

    @invariant()
    def live_always_answers_through_the_stable_address(self) -> None:
        world = self.site.world
        for model in MODELS:
            if self.pointer(model):
                self.was_live.add(model)
        for model in self.was_live:
            for component, on in self.traffic_of(model).items():
                if component == "engine" or on:
                    assert world.served_behind(f"http://{stable_name(model, component)}"), (model, component)

    @invariant()
    def users_talk_only_to_what_is_all_passed(self) -> None:
        for model in MODELS:
            live, on = self.pointer(model), self.traffic_of(model)
            for release in {live.release if live else None, *on.values()} - {None}:
                record = self.site.engines.records().require(model, str(release))
                unproven = [*record.missing, *record.not_passed]
                assert not unproven, f"{model}: users get {release}, which is not all passed: {unproven}"
            if live and (phase := self.site.engines.records().require(model, live.release).phase) in ENDED_BADLY:
                assert phase is Phase.ROLLED_BACK, f"{model}: {live.release} is live and {phase}"
                assert self.site.engines.roll_back().unfinished(model)

    @invariant()
    def approvals_and_windows_are_kept(self) -> None:
        for move in self.site.moves:
            rollout = move.spec.rollout
            assert rollout.approval == "auto" or move.record.approved, f"{move.record.release}: nobody approved it"
            assert rollout.window is None or rollout.window.is_open(move.at), f"it was closed at {move.at}"
        self.site.moves.clear()

    @invariant()
    def no_more_rollouts_at_once_than_allowed(self) -> None:
        rollouts = [run for run in self.site.runs.values() if run.kind == "rollout"]
        assert len(rollouts) <= MOST

    @invariant()
    def nothing_that_is_referred_to_is_deleted(self) -> None:
        for model in MODELS:
            live, records = self.pointer(model), self.site.engines.records()
            needed = {live.release, live.last_good} - {None} if live else set()
            for release in needed:
                revision = records.require(model, release or "").revision
                assert manifest_key(model, revision) in self.site.world.store.objects, (
                    f"{model}@{release} is not staged"
                )

    @invariant()
    def quarantine_holds(self) -> None:
        for model in MODELS:
            for record in self.site.engines.records().all(model):
                if record.phase in ENDED_BADLY:
                    self.quarantined.add((model, record.release))
                else:
                    assert (model, record.release) not in self.quarantined, f"{record.release} left its quarantine"

    def teardown(self) -> None:
        """With nothing in the way any more, every model comes to rest where it should."""
        site = self.site
        site.world.broken_engines.clear()
        for model in MODELS:
            site.change_rollout(model, window=None, paused=False)
        for _ in range(60):
            site.watch()
            site.tick()
            for model in list(site.runs):
                while model in site.runs:
                    site.step(model)
            site.pass_time(400)
        for model in MODELS:
            if model in site.world.hub.refs:
                self.check_rest(model)

    def check_rest(self, model: str) -> None:
        site, records = self.site, self.site.engines.records()
        (revision,) = [site.revisions([site.specs[model]])[model]]
        assert not isinstance(revision, GenaiError)
        desired = f"{revision[:12]}-{site.specs[model].config_hash[:6]}"
        record, live = records.require(model, desired), self.pointer(model)
        waits = record.phase is Phase.AWAITING_APPROVAL and not record.approved
        is_live = live is not None and live.release == desired and record.phase is Phase.LIVE
        said = [line for line in site.said if line.startswith(model)]
        assert is_live or waits or record.phase in ENDED_BADLY, f"{desired} is {record.phase}: {said}"
        on_their_way = [r.release for r in records.all(model) if r.phase in ON_ITS_WAY and r.release != desired]
        assert not on_their_way, f"{on_their_way} of {model} are still on their way"
        assert not live or not live.watched_until, f"the watch over {model} does not end"
        assert not site.engines.roll_back().unfinished(model)
        if live:
            served = records.require(model, live.release)
            agent = live.release if served.as_release.has_agent else None
            assert self.traffic_of(model) == {"engine": live.release, "agent": agent}
        kept = {live.release, live.last_good} if live else set()
        kept |= {desired} if waits else set()
        labels = {"app.kubernetes.io/name": model}
        left = {
            found["metadata"]["labels"]["genai-pipeline/release"]
            for kind in ("Deployment", "RayService", "Pod")
            for found in site.world.cluster.list(kind, labels)
        }
        assert left <= kept, f"{left - kept} of {model} were left in the cluster"

    def traffic_of(self, model: str) -> dict[str, str | None]:
        return {component: self.site.engines.traffic().on(model, component) for component in ("engine", "agent")}

    def pointer(self, model: str) -> Live | None:
        return self.site.engines.records().live(model)
