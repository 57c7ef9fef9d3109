"""Judge a load test against the gates of the model file: the verdicts of the serving report. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from genai_pipeline.core.checks import ABOUT_GENERATED_TOKENS, CHECKS
from genai_pipeline.core.errors import GenaiError, Refused
from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge, passed
from genai_pipeline.loadtest.agreement import FigureComparison, compare
from genai_pipeline.loadtest.gpu_load import slowed_by_fault
from genai_pipeline.loadtest.gpu_verdict import gpu_health
from genai_pipeline.loadtest.measurement import Measurement
from genai_pipeline.loadtest.summary import MIN_OBSERVATIONS, Quantiles, Summary, summarise

MIN_SAMPLES = 3


def judge_measurement(m: Measurement, gates: ServingGates) -> list[Verdict]:
    """Return one verdict for each check that applies to the task, in the order of core/checks.py."""
    compared = compare(m.task, m.observations, m.before, m.after) if m.before and m.after else []
    differ = ", ".join(c.what for c in compared if not c.agrees)
    doubt = f"the engine's own figures disagree ({differ})" if differ else ""
    late = next((c for c in compared if c.late), None)
    excuse = f"the engine's own {late.what} is {late.engine}: this client or the network is slow" if late else ""
    excuse = excuse or slowed_by_fault(m.gpu_readings)
    judges: dict[str, Callable[[], Verdict]] = {
        "ttft_p95": lambda: ttft_p95(m, gates, doubt, excuse),
        "latency_p95": lambda: latency_p95(m, gates, doubt, excuse),
        "tokens_per_second": lambda: tokens_per_second(m, gates, doubt, excuse),
        "error_rate": lambda: error_rate(m, gates),
        "kv_cache": lambda: kv_cache(m, gates),
        "queue": lambda: queue(m, gates),
        "engine_agrees": lambda: engine_agrees(m, compared),
        "gpu_health": lambda: gpu_health(m),
        "cost": lambda: cost(m, gates, doubt),
    }
    asked = (c for c in CHECKS["serving_report"] if m.task.generates or c not in ABOUT_GENERATED_TOKENS)
    return [judges[check]() for check in asked]


def nothing_measured(task: Task, gates: ServingGates, has_gpu: bool, error: GenaiError) -> list[Verdict]:
    """Return all verdicts of a load that could not begin. An engine that refuses the requests has failed."""
    unmeasured = Measurement(gates.at_concurrency, (), task, metrics_error=str(error), has_gpu=has_gpu)
    verdicts = {v.check: v for v in judge_measurement(unmeasured, gates)}
    for check, verdict in verdicts.items():
        if not verdict.passed:
            verdicts[check] = inconclusive(check, f"Nothing was measured: {error}")
    if isinstance(error, Refused):
        verdicts["error_rate"] = failed("error_rate", f"Every request is refused: {error}", limit=gates.error_rate_max)
    return list(verdicts.values())


def ttft_p95(m: Measurement, gates: ServingGates, doubt: str, excuse: str) -> Verdict:
    """The client's time proves a value within the gate. Above the gate, a slow client proves nothing."""
    summary = m.summary
    limits: dict[str, Any] = {"limit_ms": gates.ttft_p95_ms, "at_concurrency": m.at_concurrency}
    if summary.ttft is None:
        return _too_few("ttft_p95", summary, limits)
    value = summary.ttft.p95 * 1e3
    evidence = limits | _quantiles(summary.ttft, summary)
    if summary.first_answer:
        evidence["first_answer_p95_ms"] = round(summary.first_answer.p95 * 1e3, 1)
    if summary.gaps:
        evidence |= {
            "inter_token_p50_ms": round(summary.gaps.p50 * 1e3, 2),
            "inter_token_p95_ms": round(summary.gaps.p95 * 1e3, 2),
        }
    said = f"TTFT p95 is {value:.0f} ms at {m.at_concurrency} concurrent requests, the gate is {gates.ttft_p95_ms:g} ms"
    return _unless(doubt, excuse, judge("ttft_p95", value <= gates.ttft_p95_ms, said, **evidence))


def latency_p95(m: Measurement, gates: ServingGates, doubt: str, excuse: str) -> Verdict:
    """As for the first token: above the gate, a slow client proves nothing."""
    summary, limit = m.summary, gates.latency_limit_ms(m.task)
    limits: dict[str, Any] = {"limit_ms": limit, "at_concurrency": m.at_concurrency}
    if summary.latency is None:
        return _too_few("latency_p95", summary, limits)
    value = summary.latency.p95 * 1e3
    said = f"A whole request takes {value:.0f} ms (p95) at {m.at_concurrency} concurrent requests, " + (
        "no gate is set" if limit is None else f"the gate is {limit:g} ms"
    )
    within = limit is None or value <= limit
    evidence = limits | _quantiles(summary.latency, summary)
    return _unless(doubt, excuse, judge("latency_p95", within, said, **evidence))


def tokens_per_second(m: Measurement, gates: ServingGates, doubt: str, excuse: str) -> Verdict:
    summary = m.summary
    evidence: dict[str, Any] = {
        "value": round(summary.tokens_per_s, 1),
        "limit": gates.min_tokens_per_s,
        "at_concurrency": m.at_concurrency,
        "generated_tokens": summary.completion_tokens,
        "seconds": round(summary.wall_s, 2),
        "answers_of_equal_length": m.same_length,
    }
    if summary.answered < MIN_OBSERVATIONS:
        said = f"{summary.answered} answered requests are too few; {MIN_OBSERVATIONS} are needed. See error_rate."
        return inconclusive("tokens_per_second", said, **evidence)
    said = f"{summary.tokens_per_s:.0f} tokens/s are generated, the gate is {gates.min_tokens_per_s:g}"
    enough = summary.tokens_per_s >= gates.min_tokens_per_s
    return _unless(doubt, excuse, judge("tokens_per_second", enough, said, **evidence))


def error_rate(m: Measurement, gates: ServingGates) -> Verdict:
    """All steps count, because an error is an error at any load, and while replicas are added."""
    observations = [*m.observations, *(m.scaled.observations if m.scaled else ())]
    sent = len(observations)
    if not sent:
        return inconclusive("error_rate", "No request was sent.", limit=gates.error_rate_max)
    causes = summarise(observations).errors
    failures = sum(causes.values())
    table = [{"cause": cause, "requests": n} for cause, n in sorted(causes.items(), key=lambda item: -item[1])]
    return judge(
        "error_rate",
        failures / sent <= gates.error_rate_max,
        f"{failures} of {sent} requests failed ({failures / sent:.1%}), the gate is {gates.error_rate_max:.1%}."
        + (f" Mostly: {table[0]['cause'].rstrip('.')}." if table else ""),
        value=round(failures / sent, 4),
        limit=gates.error_rate_max,
        causes=table,
    )


def kv_cache(m: Measurement, gates: ServingGates) -> Verdict:
    if m.not_measured or len(m.samples) < MIN_SAMPLES:
        return _unsampled("kv_cache", m, gates.kv_cache_max)
    peak = max(sample.kv_cache_usage for sample in m.samples)
    said = f"The KV cache was at most {peak:.1%} full, the gate is below {gates.kv_cache_max:.0%}."
    return judge("kv_cache", peak < gates.kv_cache_max, said, **_sampled(m, round(peak, 4), gates.kv_cache_max))


def queue(m: Measurement, gates: ServingGates) -> Verdict:
    if m.not_measured or len(m.samples) < MIN_SAMPLES:
        return _unsampled("queue", m, gates.queue_max)
    peak = max(sample.waiting for sample in m.samples)
    said = f"At most {peak:.0f} requests waited in the engine's queue, the gate is below {gates.queue_max}."
    ok = peak < gates.queue_max or peak == 0
    return judge("queue", ok, said, **_sampled(m, peak, gates.queue_max))


def engine_agrees(m: Measurement, compared: Sequence[FigureComparison]) -> Verdict:
    """Never failed: a difference does not prove that the engine is bad."""
    if m.before is None or m.after is None:
        cause = m.metrics_error or "its metrics were not read"
        return inconclusive("engine_agrees", f"The engine's own figures are missing: {cause}")
    rows = [c.row() for c in compared]
    differ = [f"{c.what}: measured {c.ours}, by the engine {c.engine}" for c in compared if not c.agrees]
    if differ:
        said = f"The engine's figures differ: {'; '.join(differ)}. Does another client use this engine?"
        return inconclusive("engine_agrees", said, compared=rows)
    return passed("engine_agrees", "Requests, tokens and times agree with the engine's own figures.", compared=rows)


def cost(m: Measurement, gates: ServingGates, doubt: str) -> Verdict:
    limit = gates.usd_per_million_tokens_max
    price: dict[str, Any] = {"usd_per_hour": gates.usd_per_hour, "limit_usd": limit}
    if not gates.usd_per_hour and limit is None:
        return passed("cost", "no price in `gates.serving.usd_per_hour` and no gate: not applicable", **price)
    if not gates.usd_per_hour:
        said = "There is a gate but no price. Set `gates.serving.usd_per_hour`."
        return inconclusive("cost", said, **price)
    summary, generates = m.summary, m.task.generates
    tokens_per_s = summary.tokens_per_s if generates else summary.prompt_tokens_per_s
    if summary.answered < MIN_OBSERVATIONS or tokens_per_s <= 0:
        said = f"Tokens per second could not be measured; see {'tokens_per_second' if generates else 'error_rate'}."
        return inconclusive("cost", said, **price)
    value = usd_per_million_tokens(gates.usd_per_hour, tokens_per_s)
    said = f"A million {'generated' if generates else 'prompt'} tokens costs ${value:.2f}, " + (
        "no gate is set" if limit is None else f"the gate is ${limit:g}"
    )
    price["value_usd"] = round(value, 4)
    return _unless(doubt, "", judge("cost", limit is None or value <= limit, said, **price))


def usd_per_million_tokens(usd_per_hour: float, tokens_per_s: float) -> float:
    """Return the price of a million tokens at full load.

    Where tokens are generated, prompt tokens are not counted: with them the figure would look better the longer the
    prompts are. Where nothing is generated, prompt tokens are all there is.

    Args:
        usd_per_hour: price of what serves the model.
        tokens_per_s: of the tokens that count; above 0.
    """
    if tokens_per_s <= 0:
        raise ValueError("tokens_per_s must be above 0; without tokens there is no price per token")
    return usd_per_hour / (tokens_per_s * 3600) * 1_000_000


def _unless(doubt: str, excuse: str, verdict: Verdict) -> Verdict:
    """Return the verdict, or inconclusive where the figure is in doubt or a failure has another explanation."""
    reason = doubt or (excuse if not verdict.passed else "")
    if reason:
        return inconclusive(verdict.check, f"{verdict.summary}, but {reason}.", **verdict.evidence)
    return replace(verdict, summary=f"{verdict.summary}.")


def _too_few(check: str, summary: Summary, limits: Mapping[str, Any]) -> Verdict:
    said = f"{summary.answered} of {summary.requests} requests were answered; p95 needs {MIN_OBSERVATIONS}."
    return inconclusive(check, f"{said} Raise `gates.serving.requests`, or see error_rate.", **limits)


def _quantiles(seen: Quantiles, summary: Summary) -> dict[str, Any]:
    return {
        "value_ms": round(seen.p95 * 1e3, 1),
        "p50_ms": round(seen.p50 * 1e3, 1),
        "p99_ms": round(seen.p99 * 1e3, 1),
        "observations": summary.answered,
    }


def _unsampled(check: str, m: Measurement, limit: float) -> Verdict:
    if m.not_measured:
        return inconclusive(check, f"A sample under load was not usable. {m.not_measured}", limit=limit)
    cause = m.metrics_error or "the load was over too soon"
    said = f"Only {len(m.samples)} samples were taken under load; {MIN_SAMPLES} are needed: {cause}"
    return inconclusive(check, said, limit=limit)


def _sampled(m: Measurement, value: float, limit: float) -> dict[str, Any]:
    return {"value": value, "limit": limit, "samples": len(m.samples)}
