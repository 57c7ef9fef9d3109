"""Tokens per second and TTFT of an engine as the pipeline starts it, beside vLLM's own defaults, on an NVIDIA GPU.

Both are started in turn, as `cold_start.py` does it, and get the load of the serving report. GPUs are read by NVML
under load, so that a power cap or heat is named beside the figures.

    python benchmarks/serving_gpu.py s3://bucket/models/m8/r1/ --task completion --tmp /tmp
    python benchmarks/serving_gpu.py s3://bucket/models/m8/r1/ --streams 1,20,64 --rounds 3

Needs what `cold_start.py` needs, httpx and nvidia-ml-py. Each round appends a line of JSON to --out at once.

Ends with status 1 if a start or a request failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine_starts import URL, Bench, Row, demo_model, machine, serving_of

from genai_pipeline.core.task import Task
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading, Metrics
from genai_pipeline.gateways.metrics.gpu_names import NAMES, readings_of
from genai_pipeline.loadtest.gpu_load import gpu_rows, throttling
from genai_pipeline.loadtest.gpu_sampler import GpuSampler
from genai_pipeline.loadtest.sending import LoadPlan, send_from_here
from genai_pipeline.loadtest.summary import MIN_OBSERVATIONS, Observation, Summary, summarise

CONFIGURATIONS = {"product": "cold", "vllm": "defaults"}
"""Name -> the kind of start."""
FEWEST_GPU_READINGS_S = 1.0


class Nvml(Metrics):
    """The GPUs of this machine, as the exporter of GPUs reads them."""

    def __init__(self) -> None:
        import pynvml

        from genai_pipeline.observability.nvml_series import GpuCollector, Xids

        pynvml.nvmlInit()
        self._collector = GpuCollector(pynvml, Xids(pynvml), "", lambda: lambda pid: None)

    def read(self, base_url: str) -> EngineMetrics:
        raise NotImplementedError

    def gpus(self, base_url: str) -> list[GpuReading]:
        samples = [(s.name, s.labels, s.value) for family in self._collector.collect() for s in family.samples]
        return readings_of((s for s in samples if s[0] in NAMES), [], "NVML")


def under_load(model: str, task: Task, streams: int, requests: int, tokens: int, nvml: Metrics | None) -> Row:
    """Send requests at one concurrency; return the figures of that step."""
    plan = LoadPlan(
        base_url=URL, model=model, task=task, requests=requests, at_concurrency=streams, max_tokens=tokens,
        same_length=True, least_s=0.0, request_deadline_s=300, deadline_s=1200,
    )  # fmt: skip
    sampler = GpuSampler(nvml, URL, (), every_s=FEWEST_GPU_READINGS_S) if nvml else None
    with sampler or contextlib.nullcontext():
        seen = send_from_here(plan, lambda _: None)
    readings = sampler.readings if sampler else []
    return figures(streams, seen) | {"gpus": gpu_rows(readings), "throttling": throttling(readings)}


def figures(streams: int, seen: Sequence[Observation]) -> Row:
    """Return what the step at this concurrency measured."""
    found: Summary = summarise([o for o in seen if o.concurrency == streams])
    return {
        "streams": streams,
        "requests": found.requests,
        "failed": found.requests - found.answered,
        "tokens_per_s": round(found.tokens_per_s, 1),
        "ttft_p50_ms": round(found.ttft.p50 * 1e3, 1) if found.ttft else None,
        "ttft_p95_ms": round(found.ttft.p95 * 1e3, 1) if found.ttft else None,
    }


def table(rows: Sequence[Row]) -> str:
    """Return the medians over the rounds, and what held the GPUs back in the last one."""
    lines = [f"{'':8} {'streams':>7} {'tokens/s':>9} {'TTFT p50 ms':>12} {'p95 ms':>8}"]
    for name in CONFIGURATIONS:
        steps = [step for row in rows if row["configuration"] == name for step in row.get("after") or ()]
        for streams in sorted({step["streams"] for step in steps}):
            mine = [step for step in steps if step["streams"] == streams]
            rate, p50, p95 = (_median(mine, key) for key in ("tokens_per_s", "ttft_p50_ms", "ttft_p95_ms"))
            lines.append(f"{name:8} {streams:7} {rate:>9} {p50:>12} {p95:>8}  {mine[-1]['throttling']}")
    return "\n".join(lines)


def _median(steps: Sequence[Row], key: str) -> str:
    known = [step[key] for step in steps if step[key] is not None]
    return f"{statistics.median(known):.1f}" if known else "-"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="s3://<bucket>/models/<name>/<revision>/; default: the demo model")
    parser.add_argument("--task", type=Task, choices=[Task.CHAT, Task.COMPLETION], default=Task.CHAT)
    parser.add_argument("--streams", default="1,20,64", help="concurrencies")
    parser.add_argument("--requests", type=int, default=8, help="for each stream; 20 in all at least")
    parser.add_argument("--tokens", type=int, default=128, help="of each answer")
    parser.add_argument("--rounds", type=int, default=1, help="starts of each configuration")
    parser.add_argument("--prefetch", action="store_true", help="with `serving.weights: prefetch`")
    parser.add_argument("--serving", default="{}", help="JSON of fields of `serving`, such as args, gpu, resources")
    parser.add_argument("--tmp", type=Path, default=Path(tempfile.gettempdir()) / "genai-cold-start")
    parser.add_argument("--out", type=Path, default=Path("serving-gpu.jsonl"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of every `finally`: no engine stays behind
    where, rows = machine(), list[dict[str, Any]]()
    nvml = Nvml() if where["gpus"] else None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="genai-")))
        model = options.model or stack.enter_context(demo_model(folder))
        bench = Bench(model, serving_of(options), options.tmp.absolute(), options.out.absolute().with_suffix(".log"))

        def load() -> list[Row]:
            name, steps = bench.spec.name, [int(text) for text in options.streams.split(",")]
            asked = [(n, max(MIN_OBSERVATIONS, options.requests * n)) for n in steps]
            under_load(name, options.task, steps[-1], asked[-1][1], options.tokens, None)  # compiles what traffic needs
            return [under_load(name, options.task, n, requests, options.tokens, nvml) for n, requests in asked]

        for _ in range(options.rounds):
            for name, kind in CONFIGURATIONS.items():
                row = {"configuration": name, **bench.start(kind, load), "machine": where}
                rows.append(row | {"serving": bench.spec.serving.hashed})
                text = json.dumps(rows[-1])
                with options.out.open("a") as out:
                    out.write(text + "\n")
                print(text, flush=True)
    print(table(rows), file=sys.stderr)
    failed = any("error" in row or any(step["failed"] for step in row["after"]) for row in rows)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
