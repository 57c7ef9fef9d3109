"""Watch one live release: read, judge, then roll back or end the watch. One call is one look.

The caller keeps the state between looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError, NotEnoughData
from genai_pipeline.core.facts import Facts, WatchSummary
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.quantiles import Buckets, histogram_quantile, quantile
from genai_pipeline.core.record import Live, Record
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Asked
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.switch.rollback import RollBack, StartedRollback
from genai_pipeline.rollout.watch.judgement import Judgement, is_wrong, look
from genai_pipeline.rollout.watch.limits import limits_of
from genai_pipeline.rollout.watch.reading import Reader
from genai_pipeline.rollout.watch.state import WatchState

BY = "watch"
ASK_AT_LEAST_EVERY_S = 60.0
GUARD_EVERY_S = 30.0
"""Seconds between two looks at a release after its watch, if nothing is wrong: there may be many such releases."""

Ask = Callable[[ModelSpec, Record, int, str], Asked]
"""(model, record of the live release, number of the question, the agent's address) -> the result."""


@dataclass(frozen=True)
class LookResult:
    """The result of a look.

    Args:
        state: for the next look; None: the watch is over.
        message: a line for the tick's log.
        went_back: the rollback that was begun.
        ended: what the whole watch saw, at its end.
        series: its picture, when the watch ends or the release is rolled back.
    """

    state: WatchState | None
    message: str
    finding: Judgement | None = None
    went_back: StartedRollback | None = None
    ended: WatchSummary | None = None
    series: Sequence[tuple[float, float | None, float | None]] = ()


class Watcher:
    """Watch live releases. Every method may be repeated."""

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

    def is_due(self, spec: ModelSpec, live: Live, state: WatchState | None) -> bool:
        """Return whether to look now: always during the watch, and every 30 s after it if `rollout.guard` is true."""
        if live.watched_until:
            return True
        at_rest = state is not None and not is_wrong(state) and 0 <= self._reader.clocks[1] - state.mono < GUARD_EVERY_S
        return spec.rollout.guard and not at_rest

    def look(self, spec: ModelSpec, live: Live, state: WatchState | None, may_act: bool = True) -> LookResult:
        """Read the live release once and judge it. Roll back on a breach; end the watch when its time is over.

        Args:
            spec: the model file of today.
            live: the pointer; its release is watched, or guarded after its watch.
            may_act: whether traffic may be moved now. It may not while a run of this model is active.
        """
        record = self._records.require(spec.name, live.release)
        last_good = self._records.get(spec.name, live.last_good) if live.last_good else None
        limits = limits_of(spec, last_good)
        if state is None or state.release != live.release:
            state = WatchState(live.release, 0.0, 0.0)
        guarding = live.watched_until is None
        if not guarding and self._is_over(live, state, limits.hold_s):
            return self._end(spec, live, state) if may_act else LookResult(state, "the watch ends after the active run")
        state = state.at(*self._reader.clocks)
        release = record.as_release
        asks = release.has_agent and not guarding
        question = self._question(spec, record, state, limits.hold_s) if asks else None
        state, finding = look(state, self._reader.read(release, question), limits, guarding)
        if not finding.breach:
            return LookResult(state, message_of(live, finding), finding)
        if not may_act:
            return LookResult(state, f"{finding.breach}; the rollback waits for the end of the active run", finding)
        return self._breached(spec, live, state, finding)

    def _is_over(self, live: Live, state: WatchState, hold_s: float) -> bool:
        """Return whether the time is over. Something that is wrong just then gets time to hold or to pass."""
        late_s = (
            datetime.fromisoformat(self._now()) - datetime.fromisoformat(live.watched_until or "")
        ).total_seconds()
        return late_s >= (2 * hold_s if is_wrong(state) else 0)

    def _question(
        self, spec: ModelSpec, record: Record, state: WatchState, hold_s: float
    ) -> Callable[[str], Asked] | None:
        ask = self._ask
        if ask is None:
            return None
        every_s = min(hold_s / 4, ASK_AT_LEAST_EVERY_S)
        if state.asked is not None and state.clock - state.asked < every_s:
            return None
        return lambda url: ask(spec, record, state.case, url)

    def _breached(self, spec: ModelSpec, live: Live, state: WatchState, finding: Judgement) -> LookResult:
        if live.last_good is None:
            return self._nowhere_to_go(live, spec, state, finding, "there is no last good release to go back to")
        try:
            begun = self._roll_back.begin(spec.name, finding.breach, BY, release=live.release)
        except GenaiError as error:
            return self._nowhere_to_go(live, spec, state, finding, str(error))
        how = "has the traffic again" if begun.moved else "is being started"
        return LookResult(None, f"{finding.breach}: {begun.to} {how}", finding, went_back=begun, series=state.series)

    def _nowhere_to_go(
        self, live: Live, spec: ModelSpec, state: WatchState, finding: Judgement, why: str
    ) -> LookResult:
        """Write one notice about a breach without a way back, and keep the traffic where it is."""
        text = f"{live.release} misbehaves: {finding.breach}. It keeps the traffic: {why}"
        if self._records.require(spec.name, live.release).facts.breached != live.since:
            self._notices.write(Notice(NoticeKind.INCONCLUSIVE, spec.name, live.release, text, self._now()))
            noted = Facts(breached=live.since)
            self._records.update(spec.name, live.release, lambda r: r.with_facts(noted), text)
        return LookResult(state, text, finding)

    def _end(self, spec: ModelSpec, live: Live, state: WatchState) -> LookResult:
        """Record, then scale the last good release to zero, then the pointer: after a kill all is done again."""
        summary = summary_of(state, spec.task)
        known = self._records.require(spec.name, live.release).facts.watch
        if known is None or known.until != live.watched_until:
            seen = Facts(watch=summary.model_copy(update={"until": live.watched_until}))
            event = f"watched until {live.watched_until}: {_summary_text(summary)}"
            self._records.update(spec.name, live.release, lambda r: r.with_facts(seen), event)
        crash_point("watch.recorded")
        if live.last_good:
            self._candidates.tell_to_stop(self._records.require(spec.name, live.last_good).as_release)
        crash_point("watch.stopped")
        self._records.end_watch(spec.name, live.release)
        message = f"the watch over {live.release} is over: {_summary_text(summary)}"
        return LookResult(None, message, ended=summary, series=state.series)


def summary_of(state: WatchState, task: Task) -> WatchSummary:
    """Return what the whole watch saw; it becomes the baseline of the release after this one."""
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
        "queue_peak": totals.waiting,
        "canary_s": quantile(canary, 0.95) if canary else None,
    }
    if task.generates:
        figures["ttft_p95_ms"], figures["inter_token_p95_ms"] = _p95_ms(totals.ttft), _p95_ms(totals.gaps)
        figures["kv_cache_peak"] = round(totals.kv_cache, 4)
    else:
        figures["latency_p95_ms"] = _p95_ms(totals.ttft)
    return WatchSummary.model_validate({name: value for name, value in figures.items() if value is not None})


def _p95_ms(buckets: Buckets) -> float | None:
    try:
        return round(histogram_quantile(buckets, 0.95) * 1e3, 1)
    except NotEnoughData:
        return None


def _summary_text(seen: WatchSummary) -> str:
    if not seen.measured:
        return "nothing could be measured"
    told = [f"{seen.requests:g} requests", f"{seen.measured} of {seen.looks} looks measured something"]
    told += [f"{seen.wrong} found something wrong"] if seen.wrong else []
    told += [f"{seen.error_rate:.1%} failed"] if seen.error_rate is not None else []
    told += [f"TTFT p95 {seen.ttft_p95_ms:g} ms"] if seen.ttft_p95_ms is not None else []
    told += [f"request time p95 {seen.latency_p95_ms:g} ms"] if seen.latency_p95_ms is not None else []
    return ", ".join(told)


def message_of(live: Live, finding: Judgement) -> str:
    wrong = [s.said for s in finding.signals if s.outcome == "failed"]
    how = f"watched until {live.watched_until}" if live.watched_until else "guarded"
    return f"{live.release} is {how}: " + ("; ".join(wrong) or str(finding.outcome))
