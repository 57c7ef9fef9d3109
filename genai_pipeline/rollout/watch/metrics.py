"""Judge a live release by its engine's own metrics, and find out when they say nothing. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from genai_pipeline.core.quantiles import Buckets, histogram_quantile, increase, quantile_bounds, total
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.rollout.watch.limits import Limits
from genai_pipeline.rollout.watch.reading import Reading
from genai_pipeline.rollout.watch.state import CounterSample, WatchState

MIN_ERRORS = 3
OLDEST_S = 90.0
"""Older metrics say nothing about now."""
SURE = 1.5
"""How many times lower than the limit of a comparison the bucket of the quantile may begin."""
LOOK_BACK_S = 60.0
MOST_SAMPLES = 40


@dataclass(frozen=True)
class Signal:
    """One judged figure.

    Args:
        at_once: failed looks in a row that are a breach at once; 0: the failure has to hold as the model file says.
    """

    name: str
    outcome: Outcome
    said: str
    value: float | None = None
    limit: float | None = None
    at_once: int = 0


def judged(name: str, ok: bool, said: str, value: float, limit: float) -> Signal:
    return Signal(name, Outcome.PASSED if ok else Outcome.FAILED, said, value, limit)


def metrics_signals(
    state: WatchState, reading: Reading, limits: Limits
) -> tuple[WatchState, list[Signal], bool | None]:
    """Judge the engine's own figures.

    Returns: The next state, the signals, and whether the engine finished a request since the last look (None: that is
        not known).
    """
    metrics = reading.metrics
    doubt = reading.metrics_error if metrics is None else implausible(metrics)
    if metrics is None or doubt:
        return state, _unknown(f"the metrics say nothing: {doubt}", limits), None
    now = _sample(state, reading, metrics)
    before = state.samples[-1] if state.samples else None
    if before and now.scraped - before.scraped < 0.05 and metrics.age_s:
        return state, [], None  # the same scrape again
    if before and not before.is_before(now):
        return replace(state, samples=(now,)), _unknown("the engine's counters were reset", limits), None
    kept = tuple(s for s in state.samples if now.clock - s.clock <= max(LOOK_BACK_S, limits.hold_s))[-MOST_SAMPLES:]
    totals = state.totals.plus(before, now) if before else state.totals
    moved = before is not None and (now.finished > before.finished or (now.ok or 0) > (before.ok or 0))
    signals = [*_gauges(metrics, limits), *_counters((*kept, now), limits)]
    return replace(state, samples=(*kept, now), totals=totals), signals, moved if before else None


def implausible(metrics: EngineMetrics) -> str:
    """Return why the metrics cannot be true or current, or an empty text. The gateway refuses NaN and the like."""
    if metrics.age_s > OLDEST_S:
        return f"they are {metrics.age_s:.0f} s old"
    for buckets in (metrics.ttft_buckets, metrics.inter_token_buckets):
        cumulative = [count for _, count in sorted(buckets.items())]
        if cumulative != sorted(cumulative):
            return "a histogram goes down"
    return ""


def _unknown(why: str, limits: Limits) -> list[Signal]:
    generated = ("ttft_p95", "inter_token_p95", "kv_cache")
    names = ("error_rate", *(generated if limits.generates else ("latency_p95",)), "queue")
    return [Signal(name, Outcome.INCONCLUSIVE, why) for name in names]


def _sample(state: WatchState, reading: Reading, metrics: EngineMetrics) -> CounterSample:
    answers = metrics.responses
    return CounterSample(
        clock=state.clock,
        scraped=reading.mono - metrics.age_s,
        finished=metrics.requests_finished,
        ok=None if answers is None else answers.get("2xx", 0.0),
        bad=None if answers is None else answers.get("5xx", 0.0),
        ttft=metrics.ttft_buckets,
        gaps=metrics.inter_token_buckets,
        started=metrics.started_at,
    )


def _gauges(metrics: EngineMetrics, limits: Limits) -> Iterator[Signal]:
    kv, waiting = metrics.kv_cache_usage, metrics.waiting
    if limits.generates:
        said = f"the KV cache is {kv:.0%} full, the gate is below {limits.kv_cache:.0%}"
        yield judged("kv_cache", kv < limits.kv_cache, said, kv, limits.kv_cache)
    said = f"{waiting:g} requests wait in the engine, the gate is below {limits.queue:g}"
    yield judged("queue", waiting < limits.queue or waiting == 0, said, waiting, limits.queue)


def _counters(samples: Sequence[CounterSample], limits: Limits) -> Iterator[Signal]:
    def first(sample: CounterSample) -> Buckets:
        return sample.ttft

    yield _error_rate(samples, limits)
    named = ("ttft_p95", "TTFT") if limits.generates else ("latency_p95", "request time")
    yield _quantile(_Figure(*named, first, limits.first_gate_s, limits.first_s), samples, limits)
    if limits.inter_token_s is not None:
        gaps = _Figure("inter_token_p95", "inter-token latency", lambda s: s.gaps, math.inf, limits.inter_token_s)
        yield _quantile(gaps, samples, limits)


def _error_rate(samples: Sequence[CounterSample], limits: Limits) -> Signal:
    if any(s.ok is None or s.bad is None for s in samples[-2:]):
        return Signal("error_rate", Outcome.INCONCLUSIVE, "the engine does not count its answers")
    counted = [s for s in samples if s.ok is not None]
    then = _least_look_back(counted, lambda s: (s.ok or 0) + (s.bad or 0), limits.min_requests)
    if then is None:
        return Signal("error_rate", Outcome.INCONCLUSIVE, "too few requests were answered recently")
    bad = (samples[-1].bad or 0) - (then.bad or 0)
    answers = bad + (samples[-1].ok or 0) - (then.ok or 0)
    share = bad / answers
    said = f"{bad:.0f} of {answers:.0f} requests failed ({share:.0%}), the limit is {limits.error_rate:.0%}"
    return judged("error_rate", share <= limits.error_rate or bad < MIN_ERRORS, said, share, limits.error_rate)


@dataclass(frozen=True)
class _Figure:
    """A histogram, its gate, and the limit from the last good release (`times_s`; None: there is no baseline)."""

    name: str
    title: str
    of: Callable[[CounterSample], Buckets]
    gate_s: float
    times_s: float | None


def _quantile(figure: _Figure, samples: Sequence[CounterSample], limits: Limits) -> Signal:
    """Judge the 95th percentile of a histogram.

    A histogram knows a quantile only to within a bucket. If the bucket lies on both sides of the gate, the signal is
    inconclusive. The comparison with another release is not a sharp limit: there the bucket may begin a little below.
    """
    then = _least_look_back(samples, lambda s: total(figure.of(s)), limits.min_requests)
    if then is None:
        return Signal(figure.name, Outcome.INCONCLUSIVE, "too few requests were answered recently")
    seen = increase(figure.of(then), figure.of(samples[-1]))
    value, (low, _) = histogram_quantile(seen, 0.95), quantile_bounds(seen, 0.95)
    times_s = math.inf if figure.times_s is None else figure.times_s
    limit_s = min(figure.gate_s, times_s)
    source = "the gate is" if figure.gate_s <= times_s else f"compared with {limits.compared_with} the limit is"
    said = f"{figure.title} p95 is {value * 1e3:.0f} ms, {source} {limit_s * 1e3:.0f} ms"
    if low >= figure.gate_s or (value > times_s and low * SURE >= times_s * 0.999):
        return Signal(figure.name, Outcome.FAILED, said, value, limit_s)
    outcome = Outcome.PASSED if value <= limit_s else Outcome.INCONCLUSIVE
    return Signal(figure.name, outcome, said, value, limit_s)


def _least_look_back(
    samples: Sequence[CounterSample], count: Callable[[CounterSample], float], least: int
) -> CounterSample | None:
    """Return the latest sample since which enough happened.

    Returns: None if too little happened, or nothing since the last look.
    """
    now = count(samples[-1])
    if len(samples) < 2 or now <= count(samples[-2]):
        return None
    return next((s for s in reversed(samples[:-1]) if now - count(s) >= least), None)
