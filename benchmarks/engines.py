"""vLLM alone (pattern A) and vLLM on Ray Serve (pattern B), side by side: the demo model, the same load on both.

The two take turns, so that the machine's other work is in both. Ray is one node: the pods of a release are two, the
head and a worker, which take some more memory.

    python benchmarks/engines.py                     # four minutes on two cores
    python benchmarks/engines.py --rounds 3 --requests 192 --out engines.json

`ready`: from the start of the first process to the first answer, with Ray's own start. `TTFT` and `tokens/s`: of the
step at that concurrency, by the clients of the serving report. `memory`: after the load, the share of each process in
shared memory counted once (PSS). `scale-out`: Serve's autoscaler goes from one replica to two while streams run.
Pattern A has no autoscaler: there a second replica is a change of the Deployment, and a release of its own.

Ends with status 1 if a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import psutil
from figures import write_figures

from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.task import Task
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.k8s.ray_service import KEEP_ALIVE_S
from genai_pipeline.loadtest.load_client import LoadClient
from genai_pipeline.loadtest.load_test import measure
from genai_pipeline.loadtest.summary import Observation
from tests.fakes.demo_engines import CHAT, ENV, READY_IN_S, STARTS
from tests.fakes.ray_node import RayNode

SCALED_IN_S = 300
SCALED_TOKENS = 64
FIGURES = ("ready_s", "ttft_p50_ms", "ttft_p95_ms", "tokens_per_s", "memory_gb")


def once(engine: str, gates: ServingGates) -> dict[str, Any]:
    """Start it, load it, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with STARTS[engine](Path(folder)) as running:
            ready_s = time.monotonic() - began
            report = measure(running.url, "m", gates, EngineMetricsReader())
            asked, answered = report.summary["requests"], report.summary["answered"]
            found = {name: report.summary[name] for name in FIGURES if name in report.summary}
            memory_gb = pss_gb(running.processes())
    return found | {"ready_s": ready_s, "memory_gb": memory_gb, "requests": asked, "failed": asked - answered}


def pss_gb(processes: Iterable[psutil.Process]) -> float:
    """Their memory in 10^9 bytes. What ended meanwhile has none."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e9


async def scale_out(concurrency: int) -> dict[str, Any]:
    """Stream until Serve has two replicas, and then ten requests more from each stream."""
    scaling = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 1, "upscale_delay_s": 2}
    # By the product's own time: the tests' second is shorter than what a client on busy cores may pause.
    with RayNode(env=ENV, keep_alive_s=KEEP_ALIVE_S) as node:
        await asyncio.to_thread(
            node.deploy, CHAT, READY_IN_S, num_replicas="auto", autoscaling_config=scaling, max_ongoing_requests=16
        )
        began = time.monotonic()
        seen: list[Observation] = []
        async with LoadClient(node.url, "m", Task.CHAT, SCALED_TOKENS, 60, 2 * SCALED_IN_S) as client:
            await client.warm_up(concurrency)
            over = asyncio.Event()
            senders = [asyncio.create_task(stream_until(over, client, concurrency, seen)) for _ in range(concurrency)]
            scaled_s = await until_two_serve(node, began)
            before = len(seen)
            while scaled_s and len(seen) < before + 10 * concurrency:
                await asyncio.sleep(0.1)
            over.set()
            await asyncio.gather(*senders)
        memory_gb = await asyncio.to_thread(lambda: pss_gb(node.processes()))
    lost = [o for o in seen if o.error]
    causes = [f"{o.error}, {o.duration_s:.2f} s after it was sent, {tokens_of(o)}" for o in lost]
    return {
        "scaled_s": scaled_s, "requests": len(seen), "failed": len(lost), "causes": causes, "memory_gb": memory_gb,
    }  # fmt: skip


async def stream_until(over: asyncio.Event, client: LoadClient, concurrency: int, seen: list[Observation]) -> None:
    """Send one request after the other."""
    while not over.is_set():
        seen.append(await client.send(len(seen), concurrency))


def tokens_of(lost: Observation) -> str:
    return "before its first token" if lost.ttft_s is None else f"in its stream, after {len(lost.gaps_s) + 1} tokens"


async def until_two_serve(node: RayNode, began: float) -> float | None:
    """Return the seconds until two replicas serve, or None after the deadline."""
    while time.monotonic() < began + SCALED_IN_S:
        try:
            application = await asyncio.to_thread(node.application)
        except httpx.HTTPError:  # a busy dashboard
            continue
        replicas = application["deployments"]["engine"]["replicas"]
        if len([r for r in replicas if r["state"] == "RUNNING"]) == 2:
            return time.monotonic() - began
        await asyncio.sleep(0.5)
    return None


def run(options: argparse.Namespace) -> dict[str, Any]:
    gates = ServingGates(at_concurrency=options.concurrency, requests=options.requests)
    rounds: dict[str, list[dict[str, Any]]] = {engine: [] for engine in STARTS}
    for number in range(options.rounds):
        for engine in STARTS:
            rounds[engine].append(once(engine, gates))
            print(f"round {number + 1}, {engine}: {rounds[engine][-1]}", file=sys.stderr, flush=True)
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "concurrency": options.concurrency,
        "rounds": rounds,
        "median": {engine: medians(found) for engine, found in rounds.items()},
        "scale_out": None if options.no_scale_out else asyncio.run(scale_out(options.concurrency)),
    }


def medians(found: list[dict[str, Any]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in found), 2) for name in FIGURES}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def failed(found: dict[str, Any]) -> int:
    scaled = found["scale_out"]
    return sum(row["failed"] for rows in found["rounds"].values() for row in rows) + (scaled["failed"] if scaled else 0)


def table(found: dict[str, Any]) -> str:
    lines = [f"{'':<16}" + "".join(f"{engine:>10}" for engine in STARTS)]
    for name in FIGURES:
        lines.append(f"{name:<16}" + "".join(f"{found['median'][engine][name]:>10}" for engine in STARTS))
    if scaled := found["scale_out"]:
        took = f"{scaled['scaled_s']:.0f} s" if scaled["scaled_s"] else f"not within {SCALED_IN_S} s"
        lines.append(f"scale-out 1 -> 2 on Ray: {took}, {scaled['failed']} of {scaled['requests']} requests failed")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="of each engine")
    parser.add_argument("--concurrency", type=int, default=4, help="streams at once")
    parser.add_argument("--requests", type=int, default=96, help="of the load test, most of them at that concurrency")
    parser.add_argument("--no-scale-out", action="store_true")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    found = run(options)
    print(table(found), file=sys.stderr)
    write_figures(found, options.out)
    not_scaled = found["scale_out"] is not None and found["scale_out"]["scaled_s"] is None
    sys.exit(1 if failed(found) or not_scaled else 0)


if __name__ == "__main__":
    main()
