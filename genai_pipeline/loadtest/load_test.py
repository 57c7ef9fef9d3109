"""Put a candidate under load and judge it: warm up -> read counters -> steps 1, 2, 4 … -> read counters -> judge.

Called by assets/serving_report.py. It always returns all verdicts; a problem while measuring is part of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from genai_pipeline.core.errors import EngineUnavailable, GenaiError, Superseded
from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.core.progress import Log
from genai_pipeline.core.quantiles import quantile
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading, Metrics
from genai_pipeline.loadtest.gpu_load import gpu_rows
from genai_pipeline.loadtest.gpu_sampler import GpuSampler
from genai_pipeline.loadtest.load_chart import LoadPoint, load_chart
from genai_pipeline.loadtest.measurement import Measurement
from genai_pipeline.loadtest.sampler import Sampler
from genai_pipeline.loadtest.scale_out import ScaleOutLoad, hold_until_scaled
from genai_pipeline.loadtest.sending import LoadPlan, Sender, send_from_here
from genai_pipeline.loadtest.serving_verdicts import judge_measurement, nothing_measured
from genai_pipeline.loadtest.summary import Observation, Summary, summarise

OUTPUT_TOKENS = 64
POOLED_LOAD_S = 1.0
"""Seconds that the measured step lasts at least where nothing is generated: answers come in milliseconds, and the
gauges are read four times a second."""
_SETTLE_S = 3.0
"""vLLM counts a request as finished a moment after its last byte was sent."""


@dataclass(frozen=True)
class ServingReport:
    """Everything that `m/serving_report` shows.

    Args:
        summary: figure -> value, of the step at the gates' concurrency, or an empty mapping without a measurement.
        requests: a flat dict for each request.
        series: a flat dict for each step of the load.
        plot: Markdown with the chart of `series`, or an empty text without a measurement.
        gpus: a flat dict for each GPU that was read under load.
    """

    verdicts: Sequence[Verdict]
    summary: Mapping[str, Any]
    requests: Sequence[dict[str, Any]]
    series: Sequence[dict[str, Any]]
    plot: str
    gpus: Sequence[dict[str, Any]] = ()


def measure(
    inference_url: str,
    model_name: str,
    gates: ServingGates,
    metrics: Metrics,
    task: Task = Task.CHAT,
    gpu: Gpu | None = None,
    scale_out: ScaleOutLoad | None = None,
    on_progress: Log = lambda _: None,
    send: Sender = send_from_here,
    request_deadline_s: float = 60,
    deadline_s: float = 300,
) -> ServingReport:
    """Measure an engine. Must not be called inside an event loop.

    Args:
        inference_url: `http://host:port`, without `/v1`.
        task: what is asked, and so which checks there are.
        gpu: what the model file asks for; only an NVIDIA GPU can say how it is.
        scale_out: a load to hold afterwards, until one more replica serves. It has a deadline of its own.
        send: sends the measured requests; the warm-up, the metrics and the verdicts stay here.
        request_deadline_s: seconds for one answer.
        deadline_s: seconds for all measured answers.
    Raises: Superseded: `on_progress` noticed a newer release.
    """
    has_gpu = gpu is not None and gpu.is_nvidia
    plan = _plan_of(inference_url, model_name, gates, task, request_deadline_s, deadline_s)
    try:
        measurement = _load(plan, send, has_gpu, metrics, on_progress)
    except Superseded:  # it says nothing about the engine
        raise
    except GenaiError as error:
        on_progress(str(error))
        return ServingReport(nothing_measured(task, gates, has_gpu, error), {}, [], [], "")
    return _report_on(_scaled(measurement, scale_out, plan, on_progress), gates)


def _plan_of(
    url: str, model: str, gates: ServingGates, task: Task, request_deadline_s: float, deadline_s: float
) -> LoadPlan:
    return LoadPlan(
        base_url=url,
        model=model,
        task=task,
        requests=gates.requests,
        at_concurrency=gates.at_concurrency,
        max_tokens=OUTPUT_TOKENS,
        same_length=task.generates,
        least_s=0.0 if task.generates else POOLED_LOAD_S,
        request_deadline_s=request_deadline_s,
        deadline_s=deadline_s,
    )


def _report_on(measurement: Measurement, gates: ServingGates) -> ServingReport:
    task, points = measurement.task, _points(measurement)
    return ServingReport(
        verdicts=judge_measurement(measurement, gates),
        summary=_figures(measurement.summary, task) | (measurement.scaled.figures if measurement.scaled else {}),
        requests=[_row(o) for o in measurement.observations],
        series=[_series_row(measurement, point) for point in points],
        plot=load_chart(points, task, gates.watched_ms(task), gates.min_tokens_per_s if task.generates else None),
        gpus=gpu_rows(measurement.gpu_readings),
    )


def _load(plan: LoadPlan, send: Sender, has_gpu: bool, metrics: Metrics, on_progress: Log) -> Measurement:
    url = plan.base_url
    on_progress(f"Warming up {url}.")
    plan = asyncio.run(_warmed_up(plan))
    before, metrics_error = _read(metrics, url)
    gpus_before, _ = _gpus(metrics, url) if has_gpu else (None, "")
    gpu_sampler = GpuSampler(metrics, url, gpus_before or ()) if has_gpu else None
    with Sampler(metrics, url) as sampler, gpu_sampler or nullcontext():
        observations = send(plan, on_progress)
    after = None
    if before is not None:
        after, metrics_error = _read_settled(metrics, url, before, observations)
    gpus, gpu_error = _gpus(metrics, url) if has_gpu else (None, "")
    return Measurement(
        at_concurrency=plan.at_concurrency,
        observations=observations,
        task=plan.task,
        before=before,
        after=after,
        samples=sampler.samples,
        metrics_error=metrics_error or sampler.error,
        not_measured=sampler.not_measured,
        has_gpu=has_gpu,
        gpus_before=gpus_before,
        gpus=gpus,
        gpu_error=gpu_error,
        gpu_readings=gpu_sampler.readings if gpu_sampler else (),
        same_length=plan.same_length,
    )


async def _warmed_up(plan: LoadPlan) -> LoadPlan:
    """Return the plan with what the engine accepts."""
    async with plan.client() as client:
        await client.warm_up(min(plan.at_concurrency, 8))
        return replace(plan, same_length=client.same_length)


def _scaled(m: Measurement, load: ScaleOutLoad | None, plan: LoadPlan, say: Log) -> Measurement:
    if load is None:
        return m
    held = hold_until_scaled(plan.base_url, plan.model, m.task, plan.max_tokens, plan.request_deadline_s, load, say)
    return replace(m, scaled=asyncio.run(held))


def _read(metrics: Metrics, url: str) -> tuple[EngineMetrics | None, str]:
    try:
        return metrics.read(url), ""
    except EngineUnavailable as error:
        return None, str(error)


def _read_settled(
    metrics: Metrics, url: str, before: EngineMetrics, observations: Sequence[Observation]
) -> tuple[EngineMetrics | None, str]:
    """Return the first reading that counts all answered requests, or the last one before the time is over."""
    finished = before.requests_finished + sum(o.ok for o in observations)
    prompt_tokens = before.prompt_tokens + sum(o.prompt_tokens for o in observations)
    ends_at = time.monotonic() + _SETTLE_S
    while True:
        reading, error = _read(metrics, url)
        if reading is None or time.monotonic() > ends_at:
            return reading, error
        if reading.requests_finished >= finished and reading.prompt_tokens >= prompt_tokens:
            return reading, error
        time.sleep(0.1)


def _gpus(metrics: Metrics, url: str) -> tuple[list[GpuReading] | None, str]:
    try:
        return metrics.gpus(url), ""
    except EngineUnavailable as error:
        return None, str(error)


def _points(measurement: Measurement) -> list[LoadPoint]:
    points: list[LoadPoint] = []
    generates = measurement.task.generates
    for concurrency in measurement.concurrencies:
        step = summarise([o for o in measurement.observations if o.concurrency == concurrency], minimum=1)
        times = step.ttft if generates else step.latency
        p50, p95 = (times.p50 * 1e3, times.p95 * 1e3) if times else (None, None)
        points.append(LoadPoint(concurrency, p50, p95, step.tokens_per_s if generates else step.prompt_tokens_per_s))
    return points


def _figures(summary: Summary, task: Task) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "concurrency": summary.concurrency,
        "requests": summary.requests,
        "answered": summary.answered,
        "prompt_tokens": summary.prompt_tokens,
        "prompt_tokens_per_s": _rounded(summary.prompt_tokens_per_s),
        "seconds": _rounded(summary.wall_s),
    }
    if task.generates:
        figures["tokens_per_s"] = _rounded(summary.tokens_per_s)
        figures["generated_tokens"] = summary.completion_tokens
    for name, quantiles in (
        ("latency", summary.latency),
        ("ttft", summary.ttft),
        ("first_answer", summary.first_answer),
        ("inter_token", summary.gaps),
    ):
        if quantiles:
            for q, value in (("p50", quantiles.p50), ("p95", quantiles.p95), ("p99", quantiles.p99)):
                figures[f"{name}_{q}_ms"] = _rounded(value * 1e3)
    return figures


def _series_row(measurement: Measurement, point: LoadPoint) -> dict[str, Any]:
    time, rate = ("ttft", "tokens_per_s") if measurement.task.generates else ("latency", "prompt_tokens_per_s")
    return {
        "concurrency": point.concurrency,
        "requests": sum(o.concurrency == point.concurrency for o in measurement.observations),
        f"{time}_p50_ms": _rounded(point.p50_ms),
        f"{time}_p95_ms": _rounded(point.p95_ms),
        rate: _rounded(point.tokens_per_s),
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
