"""Exporters with the names of real ones, for a real Prometheus: engines, Ray, DCGM, an agent, releases.

What is counted grows with every scrape; all else stays as it was recorded.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from genai_pipeline.agent.agent_metrics import AgentMetrics
from genai_pipeline.core.facts import AgentFigures, CompileCache, Facts, StagingFigures
from genai_pipeline.core.record import HAS_TRAFFIC_AGAIN, WENT_LIVE, Event, Live, Phase, Record
from genai_pipeline.core.verdict import failed, passed
from genai_pipeline.observability.release_series import release_series
from genai_pipeline.rollout.record.record_cache import ModelRecords
from tests.fakes.listening import Listening

RECORDED = Path(__file__).parent / "recorded_metrics"
_COUNTED = re.compile(r"_(total|bucket|sum|count)\b|_CONSUMPTION\b")
_SAMPLE = re.compile(r"^([\w:]+)(\{.*\})? (\S+)$")


class Exporter(Listening):
    """Serves `/metrics` within `with`. `text` may be changed."""

    def __init__(self, text: str | Callable[[], str]) -> None:
        self.text = text
        self.scrapes = 0
        super().__init__(_Metrics)

    @property
    def target(self) -> str:
        return self.address.removeprefix("http://")

    def answer(self) -> str:
        self.scrapes += 1
        text = self.text() if callable(self.text) else self.text
        return "".join(f"{_grown(line, self.scrapes)}\n" for line in text.splitlines())


class _Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.server.fake.answer().encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _grown(line: str, times: int) -> str:
    sample = _SAMPLE.match(line)
    if sample is None or not _COUNTED.search(sample[1]):
        return line
    return f"{sample[1]}{sample[2] or ''} {float(sample[3]) * times}"


def vllm() -> str:
    """Return what a real vLLM 0.32 answered."""
    return (RECORDED / "vllm_0_32.txt").read_text()


def vllm_on_ray(serve: Iterable[str]) -> str:
    """Return the same figures by the names that Ray gives them, with Serve's own.

    Args:
        serve: names of Ray's own series.
    """
    ours = [line.replace("vllm:", "ray_vllm_") for line in vllm().splitlines() if line.startswith("vllm:")]
    labels = 'application="weather",deployment="engine",route="/v1/chat/completions",error_code="500",status_code="200"'
    own = [
        f'{name}{{{labels},Name="object_store_memory",le="{bound}"}} 5'
        for name in sorted(serve)
        for bound in (("100.0", "+Inf") if name.endswith("_bucket") else ("+Inf",))
    ]
    return "\n".join([*ours, *own])


def dcgm(namespace: str, pod: str) -> str:
    """Return a GPU that works for a pod."""
    labels = (
        'gpu="0",UUID="GPU-7d1c0e6c",pci_bus_id="00000000:31:00.0",device="nvidia0",modelName="NVIDIA L40S",'
        f'hostname="ip-10-0-1-7",container="engine",namespace="{namespace}",pod="{pod}"'
    )
    return (RECORDED / "dcgm_4_5_3.txt").read_text().replace("LABELS", labels)


def agent() -> str:
    """Return the metrics of an agent that held some turns, by the service's own code."""
    metrics = AgentMetrics(frozenset({"get_weather"}), lambda: 2)
    metrics.requests.labels("200").inc()
    metrics.seconds.observe(1.5)
    metrics.first_byte.observe(0.4)
    metrics.tool_called("get_weather", "success", 0.2)
    metrics.tokens.labels("prompt", "weather").inc(300)
    metrics.completions.labels("weather", "weather", "answered").inc()
    metrics.breakers.labels("weather", "weather", "open").set(0)
    return generate_latest(metrics.registry).decode()


def releases() -> str:
    """Return what the exporter says of one release that is live and one that was rolled back, by its own code."""
    spec = {"name": "weather", "source": {"hub": "a/b"}, "serving": {"engine": "vllm"}}
    cost = passed("cost", "fine", usd_per_hour=2.5, value_usd=1.2)
    found = {"serving_report.cost": cost, "serving_report.ttft_p95": failed("ttft_p95", "slow")}
    facts = Facts(
        staging=StagingFigures(bytes=400_000_000, seconds=9),
        agent=AgentFigures(suite="weather", cases=20, solved=19),
        compile_cache=CompileCache(hit=True, reason="hit"),
    )
    just_now = datetime.fromtimestamp(time.time(), UTC).isoformat()  # so that the marks are on a graph of now
    events = tuple(Event(just_now, what) for what in (WENT_LIVE, HAS_TRAFFIC_AGAIN))
    record = Record("weather", "a", "0" * 40, spec, Phase.LIVE, verdicts=found, timings={"candidate": 61.0})
    record = replace(record, facts=facts, history=events)
    live = Live("a", "0" * 40, "2026-01-01T00:00:00Z", watched_until="2026-01-01T00:30:00Z")
    books = {"weather": ModelRecords(live, {"a": record})}
    read_at = f"genai_exporter_last_read_timestamp_seconds {time.time()}\n"
    return read_at + "".join(generate_latest(_Once(release_series(books))).decode())


class _Once:
    """A registry of what was collected already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        return self._families
