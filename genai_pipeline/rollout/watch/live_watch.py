"""One tick over everything that is live: finish what was begun, look at what is watched, go back where it must be.

All models side by side, within a budget of time: one that hangs is left behind, and looked at again when it has come
back. Knows no Dagster.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import ON_ITS_WAY, Live, Phase, Record
from genai_pipeline.k8s.render import PORTS, stable_name
from genai_pipeline.rollout.record.ledger import Book, Ledger
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.rollback import RollBack
from genai_pipeline.rollout.switch.traffic import Traffic
from genai_pipeline.rollout.watch.state import State
from genai_pipeline.rollout.watch.watcher import Looked, Watcher

BUDGET_S = 20.0
OBSERVE_EVERY_S = 30.0
BACK_OFF_S, LONGEST_BACK_OFF_S = 10.0, 600.0
FINISHING = "finishing"
"""Name of the fact that counts the runs that were asked to finish a rollback."""


@dataclass(frozen=True)
class Finish:
    """A run to request. `number` of this kind for this release, ever."""

    model: str
    release: str
    number: int
    reason: str


@dataclass(frozen=True)
class Observed:
    """What the UI is shown of a live release."""

    model: str
    release: str
    looked: Looked


@dataclass
class WatchTick:
    """What came of a tick; `cursor` is a cache for the next one."""

    finishes: list[Finish] = field(default_factory=list[Finish])
    observed: list[Observed] = field(default_factory=list[Observed])
    notes: list[str] = field(default_factory=list[str])
    cursor: str = ""


class LiveWatch:
    """Ticks. One instance per process, so that it knows who has not come back yet."""

    def __init__(
        self,
        ledger: Ledger,
        records: Records,
        roll_back: RollBack,
        watcher: Watcher,
        traffic: Traffic,
        budget_s: float = BUDGET_S,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._ledger = ledger
        self._records = records
        self._roll_back = roll_back
        self._watcher = watcher
        self._traffic = traffic
        self._services: Mapping[str, str] | None = None
        self._budget_s = budget_s
        self._now = now
        self._out: dict[str, tuple[Live, Future[Looked]]] = {}

    def tick(self, specs: Sequence[ModelSpec], busy: Collection[str], cursor: str) -> WatchTick:
        """Args: busy: models with a run at work on them; they are looked at, and not touched."""
        tick, states = WatchTick(), _states(cursor)
        try:
            books = self._ledger.read([spec.name for spec in specs]) if specs else {}
        except GenaiError as error:
            return WatchTick(notes=[str(error)], cursor=cursor)
        self._services = self._selectors(tick)
        looks: dict[str, tuple[Live, Future[Looked]]] = {}
        for spec in specs:
            book = books[spec.name]
            if not isinstance(book, Book):
                tick.notes.append(f"{spec.name}: {book}")
                continue
            try:
                self._begin(tick, spec, book, spec.name not in busy, states, looks)
            except GenaiError as error:
                tick.notes.append(f"{spec.name}: {error}")
        wait([future for _, future in looks.values()], timeout=self._budget_s)
        for model, (live, future) in looks.items():
            self._end(tick, model, live, future, states)
        known = {spec.name for spec in specs}
        kept = {model: state.to_json() for model, state in states.items() if model in known}
        tick.cursor = json.dumps(kept, separators=(",", ":"))
        return tick

    def _begin(
        self,
        tick: WatchTick,
        spec: ModelSpec,
        book: Book,
        may_act: bool,
        states: Mapping[str, State],
        looks: dict[str, tuple[Live, Future[Looked]]],
    ) -> None:
        live = book.live
        if live is None:
            return
        left = self._left_to_do(spec.name, live, book.records.get(live.release)) if may_act else ""
        if left:
            tick.notes.append(f"{spec.name}: {left}")
            self._ask_to_finish(tick, spec.name, live, left)
        elif not _is_half_done(book, live) and self._watcher.is_due(spec, live, states.get(spec.name)):
            state = states.get(spec.name)
            looks[spec.name] = live, self._look(spec, live, state, may_act)

    def _left_to_do(self, model: str, live: Live, record: Record | None) -> str:
        """A cut-over that died on the way is the controller's to finish; what was rolled back is ours."""
        if record is not None and record.phase in ON_ITS_WAY | {Phase.SUPERSEDED}:
            return ""
        names = (stable_name(model, component) for component in PORTS)
        moved = self._services is not None and any(self._services.get(n) != live.release for n in names)
        suspicious = moved or live.rolled_back or (record is not None and record.phase is Phase.ROLLED_BACK)
        return self._roll_back.unfinished(model) if suspicious else ""

    def _selectors(self, tick: WatchTick) -> Mapping[str, str] | None:
        """Where all traffic is, asked once; None where the cluster does not say."""
        try:
            return self._traffic.everywhere()
        except GenaiError as error:
            tick.notes.append(f"where the traffic is: {error}")
            return None

    def _look(self, spec: ModelSpec, live: Live, state: State | None, may_act: bool) -> Future[Looked]:
        """In a thread of its own, which a process that is told to end does not wait for."""
        begun = self._out.get(spec.name)
        if begun and (begun[0] == live or not begun[1].done()):
            return begun[1]  # of an earlier tick, which did not wait for it
        future: Future[Looked] = Future()

        def work() -> None:
            try:
                future.set_result(self._watcher.look(spec, live, state, may_act))
            except BaseException as error:
                future.set_exception(error)

        self._out[spec.name] = live, future
        threading.Thread(target=work, name=f"watch-{spec.name}", daemon=True).start()
        return future

    def _end(self, tick: WatchTick, model: str, live: Live, future: Future[Looked], states: dict[str, State]) -> None:
        if not future.done():
            tick.notes.append(f"{model}: looking at it takes longer than {self._budget_s:g} s; the others go on")
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
        tick.notes.append(f"{model}: {looked.told}")
        if looked.state is None:
            states.pop(model, None)
        else:
            states[model] = looked.state
        if _is_worth_showing(looked, live):
            tick.observed.append(Observed(model, live.release, looked))
            if looked.state:
                states[model] = replace(looked.state, observed=looked.state.clock)
        if looked.went_back:
            self._ask_to_finish(tick, model, live, looked.told)

    def _ask_to_finish(self, tick: WatchTick, model: str, live: Live, reason: str) -> None:
        """Written down first: a tick that dies here costs a wait, and never makes two runs."""
        release = live.rolled_back or live.release
        now, asked = self._now(), False

        def count(record: Record) -> Record:
            nonlocal asked
            before: Mapping[str, Any] = record.facts.get(FINISHING) or {}
            runs = int(before.get("runs", 0))
            asked = not runs or _seconds(before["at"], now) >= min(BACK_OFF_S * 2 ** (runs - 1), LONGEST_BACK_OFF_S)
            fact = {"runs": runs + 1, "at": now}
            return replace(record, facts={**record.facts, FINISHING: fact}) if asked else record

        record = self._records.update(model, release, count)
        if asked:
            tick.finishes.append(Finish(model, release, record.facts[FINISHING]["runs"], reason))


def _is_half_done(book: Book, live: Live) -> bool:
    """Whether the cut-over to the live release is still to be finished, by its run or by the next one."""
    record = book.records.get(live.release)
    return record is None or record.phase is not Phase.LIVE


def _is_worth_showing(looked: Looked, live: Live) -> bool:
    """While it is watched now and then, and always what has just gone wrong."""
    state = looked.state
    if state is None:
        return True
    wrong = looked.finding is not None and looked.finding.outcome == "failed"
    rested = state.observed is None or state.clock - state.observed >= OBSERVE_EVERY_S
    return bool(live.watched_until and rested) or (wrong and any(s.looks == 1 for s in state.streaks.values()))


def _seconds(since: str, until: str) -> float:
    return abs((datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds())


def _states(cursor: str) -> dict[str, State]:
    """What the last tick left behind; whatever cannot be read is measured anew."""
    try:
        found = json.loads(cursor or "{}")
        return {model: State.from_json(state) for model, state in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
