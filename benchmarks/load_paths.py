"""What a load test measures through the API server's proxy, and from a pod, on a real Kubernetes node.

Measures one fake engine both ways in turn, as a pipeline outside the cluster does, and prints the medians of their
figures as JSON. The engine needs no processor, so that the figures are those of the way to it.

    python -m tests.cluster.machine run -- python benchmarks/load_paths.py --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

from genai_pipeline.core.gates import ServingGates
from tests.cluster.loaded_engine import POD, LoadedEngine, loaded_engine
from tests.cluster.machine.cluster import RunningCluster, find

FIGURES = ("ttft_p50_ms", "ttft_p95_ms", "inter_token_p50_ms", "inter_token_p95_ms", "tokens_per_s")


def one_load(engine: LoadedEngine, way: Literal["run", "pod"], concurrency: int) -> dict[str, float]:
    """Measure once; the figures, and how long a pod took to start."""
    asked: dict[str, Any] = {"at_concurrency": concurrency, "requests": 8 * concurrency, "ttft_p95_ms": 60_000}
    times: list[tuple[float, str]] = []
    report = engine.load(lambda text: times.append((time.monotonic(), text)), way, ServingGates.model_validate(asked))
    figures = {name: float(report.summary[name]) for name in FIGURES}
    begun = [at for at, text in times if POD in text]
    first = [at for at, text in times if "at a time" in text]
    return figures | ({"start_s": first[0] - begun[0]} if begun else {})


def measure(engine: LoadedEngine, rounds: int, concurrency: int) -> dict[str, dict[str, float]]:
    """Return the medians of each way. The ways take turns, so that both see the same machine."""
    found: dict[str, list[dict[str, float]]] = {"run": [], "pod": []}
    for number in range(rounds):
        for way in ("run", "pod") if number % 2 else ("pod", "run"):
            found[way].append(one_load(engine, way, concurrency))
    return {
        way: {name: round(statistics.median(r[name] for r in rows), 1) for name in rows[0]}
        for way, rows in found.items()
    }


def running() -> RunningCluster:
    """The real cluster of `machine run`."""
    cluster = find(os.environ.get("GENAI_TEST_CLUSTER", "dev"), "real")
    if cluster is None:
        raise SystemExit("Start it by `python -m tests.cluster.machine run -- …`.")
    return cluster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, loaded_engine(running(), "bench-load", Path(folder)) as engine:
        print(json.dumps(measure(engine, args.rounds, args.concurrency), indent=1))


if __name__ == "__main__":
    main()
