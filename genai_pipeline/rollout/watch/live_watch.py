"""Tick over all live releases: finish rollbacks, look at what is watched, roll back a release that misbehaves.

All models are looked at side by side, within a budget of time. A look that hangs is left to itself, and its result is
taken at a later tick. Knows nothing of Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from pydantic import TypeAdapter, ValidationError

from genai_pipeline.core.clock import growing_pause_s, utc_now
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.facts import Facts, FinishingRuns
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import ON_ITS_WAY, Live, Phase, Record
from genai_pipeline.gateways.threads import in_background
from genai_pipeline.k8s.render import PORTS, components_of, stable_name
from genai_pipeline.rollout.record.record_cache import ModelRecords, RecordCache
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.rollback import RollBack
from genai_pipeline.rollout.switch.traffic import Traffic
from genai_pipeline.rollout.watch.state import WatchState
from genai_pipeline.rollout.watch.watcher import LookResult, Watcher

BUDGET_S = 20.0
OBSERVE_EVERY_S = 30.0
BACK_OFF_S, LONGEST_BACK_OFF_S = 10.0, 600.0
_STATES = TypeAdapter(dict[str, WatchState])


@dataclass(frozen=True)
class FinishRequest:
    """A run to request that finishes a rollback.

    Args:
        number: counts such runs of this release, ever; it keeps the run key unique.
    """

    model: str
    release: str
    number: int
    reason: str


@dataclass(frozen=True)
class LiveObservation:
    """What the UI shows about a live release."""

    model: str
    release: str
    looked: LookResult


@dataclass
class WatchTick:
    """The result of a tick; `cursor` is a cache for the next one."""

    finishes: list[FinishRequest] = field(default_factory=list[FinishRequest])
    observed: list[LiveObservation] = field(default_factory=list[LiveObservation])
    notes: list[str] = field(default_factory=list[str])
    cursor: str = ""


class LiveWatch:
    """Look at all live releases. One object per process, so that it knows which looks are still under way."""

    def __init__(
        self,
        cache: RecordCache,
        records: Records,
        roll_back: RollBack,
        watcher: Watcher,
        traffic: Traffic,
        budget_s: float = BUDGET_S,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._cache = cache
        self._records = records
        self._roll_back = roll_back
        self._watcher = watcher
        self._traffic = traffic
        self._services: Mapping[str, str] | None = None
        self._budget_s = budget_s
        self._now = now
        self._out: dict[str, tuple[Live, Future[LookResult]]] = {}

    def tick(self, specs: Sequence[ModelSpec], busy: Collection[str], cursor: str) -> WatchTick:
        """Look at the live releases of these models.

        Args:
            busy: models with an active run. They are looked at, and nothing is changed.
            cursor: of the last tick.
        """
        tick, states = WatchTick(), _states(cursor)
        try:
            known = self._cache.read([spec.name for spec in specs]) if specs else {}
        except GenaiError as error:
            return WatchTick(notes=[str(error)], cursor=cursor)
        self._services = self._selectors(tick)
        looks: dict[str, tuple[Live, Future[LookResult]]] = {}
        for spec in specs:
            found = known[spec.name]
            if not isinstance(found, ModelRecords):
                tick.notes.append(f"{spec.name}: {found}")
                continue
            try:
                self._begin(tick, spec, found, spec.name not in busy, states, looks)
            except GenaiError as error:
                tick.notes.append(f"{spec.name}: {error}")
        wait([future for _, future in looks.values()], timeout=self._budget_s)
        for model, (live, future) in looks.items():
            self._end(tick, model, live, future, states)
        names = {spec.name for spec in specs}
        kept = {model: state for model, state in states.items() if model in names}
        tick.cursor = _STATES.dump_json(kept).decode()
        return tick

    def _begin(
        self,
        tick: WatchTick,
        spec: ModelSpec,
        found: ModelRecords,
        may_act: bool,
        states: Mapping[str, WatchState],
        looks: dict[str, tuple[Live, Future[LookResult]]],
    ) -> None:
        live = found.live
        if live is None:
            return
        left = self._left_to_do(spec.name, live, found.records.get(live.release)) if may_act else ""
        if left:
            tick.notes.append(f"{spec.name}: {left}")
            self._ask_to_finish(tick, spec.name, live, left)
        elif not _is_half_done(found, live) and self._watcher.is_due(spec, live, states.get(spec.name)):
            state = states.get(spec.name)
            looks[spec.name] = live, self._look(spec, live, state, may_act)

    def _left_to_do(self, model: str, live: Live, record: Record | None) -> str:
        """Return what is left of a rollback. A cut-over that died is left to the controller."""
        if record is not None and record.phase in ON_ITS_WAY | {Phase.SUPERSEDED}:
            return ""
        rolled_back = live.rolled_back or (record is not None and record.phase is Phase.ROLLED_BACK)
        suspicious = rolled_back or self._has_moved(model, live, record)
        return self._roll_back.unfinished(model) if suspicious else ""

    def _has_moved(self, model: str, live: Live, record: Record | None) -> bool:
        """Return whether an address leads elsewhere than the pointer says, or is there without a reason."""
        if self._services is None:
            return False
        mine = components_of(record.as_release) if record and record.phase is Phase.LIVE else PORTS
        leads_to = {component: self._services.get(stable_name(model, component)) for component in PORTS}
        return any(leads_to[each] != (live.release if each in mine else None) for each in PORTS)

    def _selectors(self, tick: WatchTick) -> Mapping[str, str] | None:
        """Return where all traffic is, with one request, or None if the cluster does not answer."""
        try:
            return self._traffic.everywhere()
        except GenaiError as error:
            tick.notes.append(f"where the traffic is: {error}")
            return None

    def _look(self, spec: ModelSpec, live: Live, state: WatchState | None, may_act: bool) -> Future[LookResult]:
        """Look in a thread that does not keep the process from ending."""
        begun = self._out.get(spec.name)
        if begun and (begun[0] == live or not begun[1].done()):
            return begun[1]  # an earlier tick did not wait for its end
        look = partial(self._watcher.look, spec, live, state, may_act)
        self._out[spec.name] = live, in_background(look, f"watch-{spec.name}")
        return self._out[spec.name][1]

    def _end(
        self, tick: WatchTick, model: str, live: Live, future: Future[LookResult], states: dict[str, WatchState]
    ) -> None:
        if not future.done():
            tick.notes.append(f"{model}: the look takes longer than {self._budget_s:g} s; the other models go on")
            return
        about, _ = self._out.pop(model, (live, future))
        if about != live:
            tick.notes.append(f"{model}: the traffic moved while it was looked at")
            return
        error = future.exception()
        if error:
            if not isinstance(error, GenaiError):
                raise error
            tick.notes.append(f"{model}: {error}")
            return
        looked = future.result()
        tick.notes.append(f"{model}: {looked.message}")
        if looked.state is None:
            states.pop(model, None)
        else:
            states[model] = looked.state
        if _is_worth_showing(looked, live):
            tick.observed.append(LiveObservation(model, live.release, looked))
            if looked.state:
                states[model] = replace(looked.state, observed=looked.state.clock)
        if looked.went_back:
            self._ask_to_finish(tick, model, live, looked.message)

    def _ask_to_finish(self, tick: WatchTick, model: str, live: Live, reason: str) -> None:
        """Request a run that finishes the rollback. It is counted first: a tick that dies makes no second run."""
        release = live.rolled_back or live.release
        now, asked = self._now(), False

        def count(record: Record) -> Record:
            nonlocal asked
            before = record.facts.finishing
            asked = before is None or _seconds(before.at, now) >= _pause_s(before.runs)
            runs = before.runs + 1 if before else 1
            return record.with_facts(Facts(finishing=FinishingRuns(runs=runs, at=now))) if asked else record

        finishing = self._records.update(model, release, count).facts.finishing
        if asked and finishing:
            tick.finishes.append(FinishRequest(model, release, finishing.runs, reason))


def _is_half_done(found: ModelRecords, live: Live) -> bool:
    """Return whether the cut-over to the live release is still to be finished, by its run or by the next one."""
    record = found.records.get(live.release)
    return record is None or record.phase is not Phase.LIVE


def _is_worth_showing(looked: LookResult, live: Live) -> bool:
    """Return whether to show a look: during the watch every 30 s, and always when something has just gone wrong."""
    state = looked.state
    if state is None:
        return True
    wrong = looked.finding is not None and looked.finding.outcome == "failed"
    rested = state.observed is None or state.clock - state.observed >= OBSERVE_EVERY_S
    return bool(live.watched_until and rested) or (wrong and any(s.looks == 1 for s in state.streaks.values()))


def _pause_s(runs: int) -> float:
    return growing_pause_s(runs, BACK_OFF_S, 2, LONGEST_BACK_OFF_S)


def _seconds(since: str, until: str) -> float:
    return abs((datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds())


def _states(cursor: str) -> dict[str, WatchState]:
    """Read the states that the last tick left. If they cannot be read, the watch measures from the beginning."""
    try:
        return _STATES.validate_json(cursor or "{}")
    except ValidationError:
        return {}
