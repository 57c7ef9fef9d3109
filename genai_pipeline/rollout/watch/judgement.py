"""Judge whether a live release misbehaves. Pure; reading.py measures.

Each look turns a reading into signals: passed, failed, or inconclusive if nothing can be said. A signal that stays
failed for as long as the model file says is a breach. A dead engine and a crash loop are a breach earlier. A missing
measurement neither begins nor ends a breach. After its watch a release is only guarded: see `guarded`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genai_pipeline.core.verdict import Asked, Outcome, worst
from genai_pipeline.rollout.watch.limits import Limits
from genai_pipeline.rollout.watch.metrics import Signal, judged, metrics_signals
from genai_pipeline.rollout.watch.reading import Canary, Pods, Reading
from genai_pipeline.rollout.watch.state import Streak, WatchState

MIN_LOOKS = 3
"""Looks that a breach needs at least: two may share the same mistake."""
DEAD_AFTER, CRASHING_AFTER = 3, 2
"""Looks in a row after which a dead engine and a crash loop are a breach, whatever `breach.for` says."""
BLIND_LOOKS = 3
"""After so many looks in a row without an answer, earlier failures no longer count."""
MOST_POINTS = 120
GUARDED = frozenset({"canary", "crash_loop", "error_rate"})
"""Signals that count after the watch. Times change with the traffic, and the nightly evaluation asks the agent."""


@dataclass(frozen=True)
class Judgement:
    """The result of a look. `breach` says why the release must be rolled back, or is an empty text."""

    signals: Sequence[Signal]
    breach: str = ""

    @property
    def outcome(self) -> Outcome:
        """Return failed if something is wrong now; passed if something was measured and nothing is wrong."""
        return worst(signal.outcome for signal in self.signals if _says_something(signal))


def look(state: WatchState, reading: Reading, limits: Limits, guarding: bool = False) -> tuple[WatchState, Judgement]:
    """Judge one reading together with what came before it.

    Args:
        guarding: the watch is over.
    Returns: The state for the next look, and the judgement.
    """
    state = state.at(reading.wall, reading.mono)
    state, from_metrics, moved = metrics_signals(state, reading, limits)
    signals = [*from_metrics, *_canary(reading, limits, moved), *_crash_loop(state, reading.pods)]
    signals += _agent(reading.asked)
    if guarding:
        signals = guarded(signals, reading.pods)
    streaks = {**state.streaks}
    for signal in signals:
        streak = _streak(streaks.pop(signal.name, None), signal, state.clock)
        if streak:
            streaks[signal.name] = streak
    state = replace(_counted(state, reading, signals), streaks=streaks)
    breach = next((b for s in signals if (b := _breach(streaks.get(s.name), s, limits))), "")
    return state, Judgement(signals, breach)


def _says_something(signal: Signal) -> bool:
    """Return whether a signal says something about the service. Pods that do not crash prove nothing about it."""
    mere_pods = signal.name == "crash_loop" and signal.outcome is Outcome.PASSED
    return signal.outcome is not Outcome.INCONCLUSIVE and not mere_pods


def guarded(signals: Sequence[Signal], pods: Pods | None) -> list[Signal]:
    """Return the signals that count after the watch: errors and crashes, only if they hold.

    Missing pods prove nothing against the release: a node that dies takes healthy pods with it.
    """
    gone = pods is None or not (pods.ready or pods.crashing)
    outcomes = {Outcome.FAILED: Outcome.INCONCLUSIVE if gone else Outcome.FAILED}
    return [replace(s, outcome=outcomes.get(s.outcome, s.outcome), at_once=0) for s in signals if s.name in GUARDED]


def is_wrong(state: WatchState) -> bool:
    """Return whether something is wrong that has not held for long enough to be a breach."""
    return bool(state.streaks)


def _breach(streak: Streak | None, signal: Signal, limits: Limits) -> str:
    if streak is None or signal.outcome is not Outcome.FAILED:
        return ""
    if signal.at_once and streak.looks >= signal.at_once:
        return f"{signal.said.rstrip('.')}, {streak.looks} times in a row"
    if streak.looks >= MIN_LOOKS and streak.held_s >= limits.hold_s:
        return f"{signal.said.rstrip('.')}, for {streak.held_s:.0f} s"
    return ""


def _streak(before: Streak | None, signal: Signal, clock: float) -> Streak | None:
    if signal.outcome is Outcome.PASSED:
        return None
    if signal.outcome is Outcome.INCONCLUSIVE:
        if before is None or before.blind == BLIND_LOOKS:
            return None
        return replace(before, blind=before.blind + 1)
    if before is None:
        return Streak(clock, clock, said=signal.said)
    unknown = clock - before.last if before.blind else 0.0
    return Streak(before.since + unknown, clock, before.looks + 1, 0, signal.said)


def _canary(reading: Reading, limits: Limits, moved: bool | None) -> Iterator[Signal]:
    canary = reading.canary
    if canary.kind in ("answered", "elsewhere"):
        if canary.kind == "elsewhere":
            yield Signal("canary", Outcome.INCONCLUSIVE, canary.said)
            return
        yield Signal("canary", Outcome.PASSED, "an answer came through the stable address")
        yield _canary_latency(canary, limits)
    elif canary.kind == "broken":
        # Other clients may still be served. Then this has to hold as long as any other signal.
        at_once = 0 if moved else DEAD_AFTER
        yield Signal("canary", Outcome.FAILED, f"a short request failed: {canary.said}", at_once=at_once)
    else:
        yield _silence(canary, reading, moved)


def _canary_latency(canary: Canary, limits: Limits) -> Signal:
    text = f"a short request took {canary.seconds:.1f} s, at most {limits.canary_s:.1f} s are allowed"
    if canary.seconds > limits.canary_s and canary.way_s > limits.canary_s / 4:
        return Signal("canary_latency", Outcome.INCONCLUSIVE, f"{text}, but the network is slow too")
    return judged("canary_latency", canary.seconds <= limits.canary_s, text, canary.seconds, limits.canary_s)


def _silence(canary: Canary, reading: Reading, moved: bool | None) -> Signal:
    """Judge a missing answer: it is the engine's fault only if something besides this connection says so."""
    said = f"the stable address does not answer: {canary.said}"
    pods, metrics = reading.pods, reading.metrics
    if pods is not None and pods.ready == 0:
        return Signal("canary", Outcome.FAILED, f"no pod is ready, and {said}", at_once=DEAD_AFTER)
    if pods is not None and moved is False and metrics is not None and metrics.running + metrics.waiting > 0:
        return Signal("canary", Outcome.FAILED, f"the engine finishes nothing, and {said}")
    return Signal("canary", Outcome.INCONCLUSIVE, f"{said} Nothing else points to the engine")


def _crash_loop(state: WatchState, pods: Pods | None) -> list[Signal]:
    if pods is None:
        return [Signal("crash_loop", Outcome.INCONCLUSIVE, "the cluster does not report the state of the pods")]
    more = pods.restarts - (state.restarts if state.restarts is not None else pods.restarts)
    if not pods.crashing:
        # Between two crashes a pod runs. Only a release without restarts has not been crashing.
        outcome = Outcome.INCONCLUSIVE if more else Outcome.PASSED
        return [Signal("crash_loop", outcome, f"{more} restarts since the watch began", more)]
    said = f"{pods.crashing} crashes repeatedly ({pods.restarts} restarts), {pods.ready} pods are ready"
    at_once = 0 if pods.ready else CRASHING_AFTER
    return [Signal("crash_loop", Outcome.FAILED, said, more, at_once=at_once)]


def _agent(asked: Asked | None) -> list[Signal]:
    if asked is None:
        return []
    outcome = {True: Outcome.PASSED, False: Outcome.FAILED, None: Outcome.INCONCLUSIVE}[asked.right]
    return [Signal("agent", outcome, f"the agent was asked {asked.case}: {asked.said}")]


def _counted(state: WatchState, reading: Reading, signals: Sequence[Signal]) -> WatchState:
    """Return the state with this look added to its totals and to its picture."""
    by_name: Mapping[str, Any] = {s.name: s for s in signals}
    totals, metrics = state.totals, reading.metrics
    if metrics and "queue" in by_name and by_name["queue"].value is not None:
        totals = replace(
            totals,
            kv_cache=max(totals.kv_cache, metrics.kv_cache_usage),
            waiting=max(totals.waiting, metrics.waiting),
        )
    seconds = (*totals.canary_s, round(reading.canary.seconds, 3))[-50:]
    measured = any(map(_says_something, signals))
    totals = replace(
        totals,
        looks=totals.looks + 1,
        measured=totals.measured + measured,
        wrong=totals.wrong + any(s.outcome is Outcome.FAILED for s in signals),
        canary_s=seconds if reading.canary.kind == "answered" else totals.canary_s,
    )
    first = next((by_name[name].value for name in ("ttft_p95", "latency_p95") if name in by_name), None)
    errors = by_name["error_rate"].value if "error_rate" in by_name else None
    point = (round(state.clock, 1), None if first is None else round(first * 1e3, 1), errors)
    restarts = state.restarts if state.restarts is not None or reading.pods is None else reading.pods.restarts
    asked = {"asked": state.clock, "case": state.case + 1} if reading.asked else {}
    return replace(state, totals=totals, series=(*state.series, point)[-MOST_POINTS:], restarts=restarts, **asked)
