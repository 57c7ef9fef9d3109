"""Put a candidate under load and judge it: warm up -> read counters -> steps 1, 2, 4 … -> read counters -> judge.

Called by assets/serving_report.py. It always returns all verdicts; a problem while measuring is part of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.errors import EngineUnavailable, GenaiError
from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.progress import Log
from genai_pipeline.core.quantiles import quantile
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading, Metrics
from genai_pipeline.loadtest.arrivals import closed_loop, plan_steps
from genai_pipeline.loadtest.load_chart import LoadPoint, load_chart
from genai_pipeline.loadtest.load_client import LoadClient
from genai_pipeline.loadtest.measurement import Measurement
from genai_pipeline.loadtest.sampler import Sampler
from genai_pipeline.loadtest.serving_verdicts import judge_measurement, nothing_measured
from genai_pipeline.loadtest.summary import Observation, Summary, summarise

OUTPUT_TOKENS = 64
_SETTLE_S = 3.0
"""vLLM counts a request as finished a moment after its last byte was sent."""


@dataclass(frozen=True)
class ServingReport:
    """Everything that `m/serving_report` shows.

    Args:
        summary: figure -> value, of the step at the concurrency of the gates; empty where nothing was measured.
        requests: a flat dict for each request.
        series: a flat dict for each step of the load.
        plot: Markdown with the chart of `series`; empty where nothing was measured.
    """

    verdicts: Sequence[Verdict]
    summary: Mapping[str, Any]
    requests: Sequence[dict[str, Any]]
    series: Sequence[dict[str, Any]]
    plot: str


def measure(
    inference_url: str,
    model_name: str,
    gates: ServingGates,
    metrics: Metrics,
    has_gpu: bool = False,
    on_progress: Log = lambda _: None,
    request_deadline_s: float = 60,
    deadline_s: float = 300,
) -> ServingReport:
    """Measure an engine, for at most about `deadline_s` seconds. Must not be called inside an event loop.

    Args:
        inference_url: `http://host:port`, without `/v1`.
        request_deadline_s: seconds for one answer.
        deadline_s: seconds for all answers.
    """
    client = LoadClient(inference_url, model_name, OUTPUT_TOKENS, request_deadline_s, deadline_s)
    try:
        measurement = asyncio.run(_load(client, inference_url, gates, has_gpu, metrics, on_progress))
    except GenaiError as error:
        on_progress(str(error))
        verdicts = nothing_measured(gates, has_gpu, error)
        return ServingReport(verdicts, {}, [], [], "")
    verdicts = judge_measurement(measurement, gates)
    points = _points(measurement)
    return ServingReport(
        verdicts=verdicts,
        summary=_figures(measurement.summary),
        requests=[_row(o) for o in measurement.observations],
        series=[_series_row(measurement, point) for point in points],
        plot=load_chart(points, gates.ttft_p95_ms, gates.min_tokens_per_s),
    )


async def _load(
    client: LoadClient, url: str, gates: ServingGates, has_gpu: bool, metrics: Metrics, on_progress: Log
) -> Measurement:
    observations: list[Observation] = []
    async with client:
        on_progress(f"Warming up {url}.")
        await client.warm_up(min(gates.at_concurrency, 8))
        before, metrics_error = await asyncio.to_thread(_read, metrics, url)
        gpus_before, _ = await asyncio.to_thread(_gpus, metrics, url) if has_gpu else (None, "")
        with Sampler(metrics, url) as sampler:
            for step in plan_steps(gates.requests, gates.at_concurrency):
                on_progress(f"{step.requests} requests, {step.concurrency} at a time.")
                numbers = range(len(observations), len(observations) + step.requests)
                observations += await closed_loop(
                    numbers, step.concurrency, lambda n, c=step.concurrency: client.send(n, c)
                )
        after = None
        if before is not None:
            finished = before.requests_finished + sum(o.ok for o in observations)
            after, metrics_error = await asyncio.to_thread(_read_settled, metrics, url, finished)
        gpus, gpu_error = await asyncio.to_thread(_gpus, metrics, url) if has_gpu else (None, "")
    return Measurement(
        at_concurrency=gates.at_concurrency,
        observations=observations,
        before=before,
        after=after,
        samples=sampler.samples,
        metrics_error=metrics_error or sampler.error,
        not_measured=sampler.not_measured,
        has_gpu=has_gpu,
        gpus_before=gpus_before,
        gpus=gpus,
        gpu_error=gpu_error,
        same_length=client.same_length,
    )


def _read(metrics: Metrics, url: str) -> tuple[EngineMetrics | None, str]:
    try:
        return metrics.read(url), ""
    except EngineUnavailable as error:
        return None, str(error)


def _read_settled(metrics: Metrics, url: str, finished: float) -> tuple[EngineMetrics | None, str]:
    """Return the first reading that counts all `finished` requests, or the last one before the time is over."""
    ends_at = time.monotonic() + _SETTLE_S
    while True:
        reading, error = _read(metrics, url)
        if reading is None or reading.requests_finished >= finished or time.monotonic() > ends_at:
            return reading, error
        time.sleep(0.1)


def _gpus(metrics: Metrics, url: str) -> tuple[list[GpuReading] | None, str]:
    try:
        return metrics.gpus(url), ""
    except EngineUnavailable as error:
        return None, str(error)


def _points(measurement: Measurement) -> list[LoadPoint]:
    points: list[LoadPoint] = []
    for concurrency in measurement.concurrencies:
        step = summarise([o for o in measurement.observations if o.concurrency == concurrency], minimum=1)
        p50, p95 = (step.ttft.p50 * 1e3, step.ttft.p95 * 1e3) if step.ttft else (None, None)
        points.append(LoadPoint(concurrency, p50, p95, step.tokens_per_s))
    return points


def _figures(summary: Summary) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "concurrency": summary.concurrency,
        "requests": summary.requests,
        "answered": summary.answered,
        "tokens_per_s": _rounded(summary.tokens_per_s),
        "generated_tokens": summary.completion_tokens,
        "prompt_tokens": summary.prompt_tokens,
        "seconds": _rounded(summary.wall_s),
    }
    for name, quantiles in (
        ("ttft", summary.ttft),
        ("first_answer", summary.first_answer),
        ("inter_token", summary.gaps),
    ):
        if quantiles:
            for q, value in (("p50", quantiles.p50), ("p95", quantiles.p95), ("p99", quantiles.p99)):
                figures[f"{name}_{q}_ms"] = _rounded(value * 1e3)
    return figures


def _series_row(measurement: Measurement, point: LoadPoint) -> dict[str, Any]:
    return {
        "concurrency": point.concurrency,
        "requests": sum(o.concurrency == point.concurrency for o in measurement.observations),
        "ttft_p50_ms": _rounded(point.ttft_p50_ms),
        "ttft_p95_ms": _rounded(point.ttft_p95_ms),
        "tokens_per_s": _rounded(point.tokens_per_s),
    }


def _row(o: Observation) -> dict[str, Any]:
    return {
        "request": o.number,
        "concurrency": o.concurrency,
        "started_s": round(o.started_s, 3),
        "ttft_ms": _rounded(None if o.ttft_s is None else o.ttft_s * 1e3),
        "first_answer_ms": _rounded(None if o.answer_s is None else o.answer_s * 1e3),
        "inter_token_p50_ms": _rounded(quantile(o.gaps_s, 0.5) * 1e3 if o.gaps_s else None),
        "duration_s": round(o.duration_s, 3),
        "prompt_tokens": o.prompt_tokens,
        "generated_tokens": o.completion_tokens,
        "error": o.error,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
