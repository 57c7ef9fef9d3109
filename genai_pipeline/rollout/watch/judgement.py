"""Does a live release misbehave? Measuring is elsewhere (reading.py); this is pure.

Each look turns a reading into signals: passed, failed, or inconclusive where nothing can be said. A signal that stays
failed for as long as the model file says is a breach; a dead engine and a crash loop are one earlier. What was not
measured neither begins nor ends anything. After the watch a release is only guarded: `guarded` says what counts then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genai_pipeline.core.verdict import Outcome, worst
from genai_pipeline.rollout.watch.limits import Limits
from genai_pipeline.rollout.watch.metrics import Signal, judged, metrics_signals
from genai_pipeline.rollout.watch.reading import Asked, Canary, Pods, Reading
from genai_pipeline.rollout.watch.state import State, Streak

MIN_LOOKS = 3
"""One sample is none, and two may be the same mistake."""
DEAD_AFTER, CRASHING_AFTER = 3, 2
"""Looks in a row after which a dead engine and a crash loop count at once, whatever the file says of holding."""
BLIND_LOOKS = 3
"""After so many looks in a row without an answer, what was wrong before counts no more."""
MOST_POINTS = 120
GUARDED = frozenset({"canary", "crash_loop", "error_rate"})
"""What counts after the watch: times drift with the traffic, and the nightly evaluation asks the agent."""


@dataclass(frozen=True)
class Finding:
    """What a look came to. `breach` says what must be acted on, empty where nothing must."""

    signals: Sequence[Signal]
    breach: str = ""

    @property
    def outcome(self) -> Outcome:
        """Failed where something is wrong now; passed where something was measured and nothing is wrong."""
        return worst(signal.outcome for signal in self.signals if _says_something(signal))


def look(state: State, reading: Reading, limits: Limits, guarding: bool = False) -> tuple[State, Finding]:
    """Judge one reading in the light of what came before it. Args: guarding: the watch is over."""
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
    return state, Finding(signals, breach)


def _says_something(signal: Signal) -> bool:
    """Pods that do not crash are no proof that anybody is served."""
    mere_pods = signal.name == "crash_loop" and signal.outcome is Outcome.PASSED
    return signal.outcome is not Outcome.INCONCLUSIVE and not mere_pods


def guarded(signals: Sequence[Signal], pods: Pods | None) -> list[Signal]:
    """What a release does by itself long after it went live: it answers with errors, or crashes, and goes on doing so.

    Pods that are gone prove nothing against it: a node that dies takes healthy ones with it.
    """
    gone = pods is None or not (pods.ready or pods.crashing)
    outcomes = {Outcome.FAILED: Outcome.INCONCLUSIVE if gone else Outcome.FAILED}
    return [replace(s, outcome=outcomes.get(s.outcome, s.outcome), at_once=0) for s in signals if s.name in GUARDED]


def is_wrong(state: State) -> bool:
    """Whether something is wrong that has not held for long enough yet."""
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
        yield Signal("canary", Outcome.PASSED, "a completion came through the stable address")
        yield _canary_latency(canary, limits)
    elif canary.kind == "broken":
        # Others may still be served, and then the share of errors has to hold as any other does.
        at_once = 0 if moved else DEAD_AFTER
        yield Signal("canary", Outcome.FAILED, f"a completion failed: {canary.said}", at_once=at_once)
    else:
        yield _silence(canary, reading, moved)


def _canary_latency(canary: Canary, limits: Limits) -> Signal:
    said = f"a short completion took {canary.seconds:.1f} s, at most {limits.canary_s:.1f} s may be"
    if canary.seconds > limits.canary_s and canary.way_s > limits.canary_s / 4:
        return Signal("canary_latency", Outcome.INCONCLUSIVE, f"{said}, but the way there is slow, too")
    return judged("canary_latency", canary.seconds <= limits.canary_s, said, canary.seconds, limits.canary_s)


def _silence(canary: Canary, reading: Reading, moved: bool | None) -> Signal:
    """No answer: the engine's fault only if something besides our own connection says so."""
    said = f"the stable address does not answer: {canary.said}"
    pods, metrics = reading.pods, reading.metrics
    if pods is not None and pods.ready == 0:
        return Signal("canary", Outcome.FAILED, f"no pod is ready, and {said}", at_once=DEAD_AFTER)
    if pods is not None and moved is False and metrics is not None and metrics.running + metrics.waiting > 0:
        return Signal("canary", Outcome.FAILED, f"the engine finishes nothing, and {said}")
    return Signal("canary", Outcome.INCONCLUSIVE, f"{said} Nothing else says that the engine is to blame")


def _crash_loop(state: State, pods: Pods | None) -> list[Signal]:
    if pods is None:
        return [Signal("crash_loop", Outcome.INCONCLUSIVE, "the cluster does not say how the pods are")]
    more = pods.restarts - (state.restarts if state.restarts is not None else pods.restarts)
    if not pods.crashing:
        # Between two crashes it runs: only a release that was never restarted has not been crashing.
        outcome = Outcome.INCONCLUSIVE if more else Outcome.PASSED
        return [Signal("crash_loop", outcome, f"{more} restarts since the watch began", more)]
    said = f"{pods.crashing} crashes again and again ({pods.restarts} restarts), {pods.ready} pods are ready"
    at_once = 0 if pods.ready else CRASHING_AFTER
    return [Signal("crash_loop", Outcome.FAILED, said, more, at_once=at_once)]


def _agent(asked: Asked | None) -> list[Signal]:
    if asked is None:
        return []
    outcome = {True: Outcome.PASSED, False: Outcome.FAILED, None: Outcome.INCONCLUSIVE}[asked.right]
    return [Signal("agent", outcome, f"the agent was asked {asked.case}: {asked.said}")]


def _counted(state: State, reading: Reading, signals: Sequence[Signal]) -> State:
    """The state with this look in its totals, and in the picture."""
    by_name: Mapping[str, Any] = {s.name: s for s in signals}
    totals, metrics = state.totals, reading.metrics
    if metrics and "kv_cache" in by_name and by_name["kv_cache"].value is not None:
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
    ttft, errors = (by_name[n].value if n in by_name else None for n in ("ttft_p95", "error_rate"))
    point = (round(state.clock, 1), None if ttft is None else round(ttft * 1e3, 1), errors)
    restarts = state.restarts if state.restarts is not None or reading.pods is None else reading.pods.restarts
    asked = {"asked": state.clock, "case": state.case + 1} if reading.asked else {}
    return replace(state, totals=totals, series=(*state.series, point)[-MOST_POINTS:], restarts=restarts, **asked)
