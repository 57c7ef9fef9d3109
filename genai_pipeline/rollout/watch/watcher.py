"""The watch over a live release: read, judge, go back or end. One call is one look; the caller keeps the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError, NotEnoughData
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.histogram import Buckets, histogram_quantile
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.numbers import quantile
from genai_pipeline.core.record import Live, Record
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidate import Candidates
from genai_pipeline.rollout.switch.rollback import Begun, RollBack
from genai_pipeline.rollout.watch.judgement import Finding, is_wrong, look
from genai_pipeline.rollout.watch.limits import FACT, limits_of
from genai_pipeline.rollout.watch.reading import Asked, Reader
from genai_pipeline.rollout.watch.state import State

BY = "watch"
ASK_AT_LEAST_EVERY_S = 60.0
GUARD_EVERY_S = 30.0
"""Between two looks at a release whose watch is over, as long as nothing is wrong: there may be many of them."""

Ask = Callable[[ModelSpec, Record, int, str], Asked]
"""(model, record of the live release, number of the question, the agent's address) -> what came of it."""


@dataclass(frozen=True)
class Looked:
    """What a look came to.

    Args:
        state: to be handed to the next look; None: the watch is over.
        went_back: a rollback was begun. told: a line for the tick's log.
        ended: what the whole watch saw, at its end; `series` is its picture, at either end.
    """

    state: State | None
    told: str
    finding: Finding | None = None
    went_back: Begun | None = None
    ended: Mapping[str, Any] | None = None
    series: Sequence[tuple[float, float | None, float | None]] = ()


class Watcher:
    """Watches live releases. Every method may be repeated."""

    def __init__(
        self,
        reader: Reader,
        records: Records,
        candidates: Candidates,
        roll_back: RollBack,
        notices: Notices,
        ask: Ask | None = None,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._reader = reader
        self._records = records
        self._candidates = candidates
        self._roll_back = roll_back
        self._notices = notices
        self._ask = ask
        self._now = now

    def is_due(self, spec: ModelSpec, live: Live, state: State | None) -> bool:
        """Whether to look now: always while it is watched, and now and then after that if the model file says so."""
        if live.watched_until:
            return True
        at_rest = state is not None and not is_wrong(state) and 0 <= self._reader.clocks[1] - state.mono < GUARD_EVERY_S
        return spec.rollout.guard and not at_rest

    def look(self, spec: ModelSpec, live: Live, state: State | None, may_act: bool = True) -> Looked:
        """Read the live release once and judge it; go back on a breach, end the watch when its time is over.

        Args:
            spec: the model file of today. live: a pointer whose release is watched, or guarded after its watch.
            may_act: whether the traffic may be moved now; a run of this model may be at work on it.
        """
        record = self._records.require(spec.name, live.release)
        last_good = self._records.get(spec.name, live.last_good) if live.last_good else None
        limits = limits_of(spec, last_good)
        if state is None or state.release != live.release:
            state = State(live.release, 0.0, 0.0)
        guarding = live.watched_until is None
        if not guarding and self._is_over(live, state, limits.hold_s):
            return (
                self._end(spec, live, state) if may_act else Looked(state, "the watch ends when the run under way does")
            )
        state = state.at(*self._reader.clocks)
        question = None if guarding else self._question(spec, record, state, limits.hold_s)
        state, finding = look(state, self._reader.read(record.as_release, question), limits, guarding)
        if not finding.breach:
            return Looked(state, _told(live, finding), finding)
        if not may_act:
            return Looked(state, f"{finding.breach}; acted on when the run under way is over", finding)
        return self._breached(spec, live, state, finding)

    def _is_over(self, live: Live, state: State, hold_s: float) -> bool:
        """By the clock; what is wrong just then gets the time to prove or to disprove itself."""
        late_s = (
            datetime.fromisoformat(self._now()) - datetime.fromisoformat(live.watched_until or "")
        ).total_seconds()
        return late_s >= (2 * hold_s if is_wrong(state) else 0)

    def _question(self, spec: ModelSpec, record: Record, state: State, hold_s: float) -> Callable[[str], Asked] | None:
        ask = self._ask
        if ask is None:
            return None
        every_s = min(hold_s / 4, ASK_AT_LEAST_EVERY_S)
        if state.asked is not None and state.clock - state.asked < every_s:
            return None
        return lambda url: ask(spec, record, state.case, url)

    def _breached(self, spec: ModelSpec, live: Live, state: State, finding: Finding) -> Looked:
        if live.last_good is None:
            return self._nowhere_to_go(live, spec, state, finding, "there is no last good release to go back to")
        try:
            begun = self._roll_back.begin(spec.name, finding.breach, BY, release=live.release)
        except GenaiError as error:
            return self._nowhere_to_go(live, spec, state, finding, str(error))
        how = "has the traffic again" if begun.moved else "is being started"
        return Looked(None, f"{finding.breach}: {begun.to} {how}", finding, went_back=begun, series=state.series)

    def _nowhere_to_go(self, live: Live, spec: ModelSpec, state: State, finding: Finding, why: str) -> Looked:
        """A breach that nothing can be done about is told of, once a kind of thing."""
        text = f"{live.release} misbehaves: {finding.breach}. It keeps the traffic: {why}"
        known = self._records.require(spec.name, live.release).facts.get("breached")
        if known != live.since:
            self._notices.write(Notice(NoticeKind.INCONCLUSIVE, spec.name, live.release, text, self._now()))

            def noted(record: Record) -> Record:
                return replace(record, facts={**record.facts, "breached": live.since})

            self._records.update(spec.name, live.release, noted, text)
        return Looked(state, text, finding)

    def _end(self, spec: ModelSpec, live: Live, state: State) -> Looked:
        """The record, then the last good release to zero, then the pointer: killed in between, it is done again."""
        facts = summary_of(state)
        if not self._is_recorded(spec.name, live):
            told = f"watched until {live.watched_until}: " + _said(facts)

            def seen(record: Record) -> Record:
                return replace(record, facts={**record.facts, FACT: facts | {"until": live.watched_until}})

            self._records.update(spec.name, live.release, seen, told)
        crash_point("watch.recorded")
        if live.last_good:
            self._candidates.tell_to_stop(self._records.require(spec.name, live.last_good).as_release)
        crash_point("watch.stopped")
        self._records.end_watch(spec.name, live.release)
        return Looked(None, f"the watch over {live.release} is over: {_said(facts)}", ended=facts, series=state.series)

    def _is_recorded(self, model: str, live: Live) -> bool:
        facts = self._records.require(model, live.release).facts.get(FACT) or {}
        return facts.get("until") == live.watched_until


def summary_of(state: State) -> dict[str, Any]:
    """What the whole watch saw: a fact of the record, and the baseline of the release after this one. Times in ms."""
    totals = state.totals
    answers = totals.ok + totals.bad
    canary = sorted(totals.canary_s)
    figures = {
        "seconds": round(state.clock, 1),
        "looks": totals.looks,
        "measured": totals.measured,
        "wrong": totals.wrong or None,
        "requests": answers,
        "error_rate": round(totals.bad / answers, 4) if answers else None,
        "ttft_p95_ms": _p95_ms(totals.ttft),
        "inter_token_p95_ms": _p95_ms(totals.gaps),
        "kv_cache_peak": round(totals.kv_cache, 4),
        "queue_peak": totals.waiting,
        "canary_s": quantile(canary, 0.95) if canary else None,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _p95_ms(buckets: Buckets) -> float | None:
    try:
        return round(histogram_quantile(buckets, 0.95) * 1e3, 1)
    except NotEnoughData:
        return None


def _said(facts: Mapping[str, Any]) -> str:
    if not facts["measured"]:
        return "nothing could be measured"
    told = [f"{facts['requests']:g} requests", f"{facts['measured']} of {facts['looks']} looks measured something"]
    told += [f"{facts['wrong']} found something wrong"] if "wrong" in facts else []
    told += [f"{facts['error_rate']:.1%} failed"] if "error_rate" in facts else []
    told += [f"TTFT p95 {facts['ttft_p95_ms']:g} ms"] if "ttft_p95_ms" in facts else []
    return ", ".join(told)


def _told(live: Live, finding: Finding) -> str:
    wrong = [s.said for s in finding.signals if s.outcome == "failed"]
    how = f"watched until {live.watched_until}" if live.watched_until else "guarded"
    return f"{live.release} is {how}: " + ("; ".join(wrong) or str(finding.outcome))
