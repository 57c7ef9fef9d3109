"""What the evaluation costs over the bare requests: the same prompts, the same concurrency, without the evaluation.

Agent and endpoint answer after a fixed time in a process of their own (benchmarks/evaluation_runs/fixed_latency.py).
Each round measures the bare requests and the evaluation, one after the other, in turns; the medians are compared.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --latency-ms 100 --concurrency 16 --rounds 9 --out evaluation.json

`bare` is an asyncio client over httpx that sends the recorded requests, conversation by conversation, as the evaluation
does. Ends with status 1 where the evaluation takes more than `--limit` over it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from figures import write_figures

from genai_pipeline.core.gates import AgentGates
from genai_pipeline.evaluation.evaluate import EvaluationSettings, evaluate, measure_tool_calls
from genai_pipeline.evaluation.suite_files import load_agent_suite, load_tool_suite

Conversation = list[tuple[str, Any]]
"""(path, body) of requests that follow each other."""
Phase = tuple[list[Conversation], int]
"""Conversations, and how many of them are held at once."""


@dataclass(frozen=True)
class Figures:
    """Seconds of wall time, medians over the rounds; overhead as a share of the bare requests."""

    suite: str
    requests: int
    bare_s: float
    evaluation_s: float
    overhead: float
    bare_all_s: list[float]
    evaluation_all_s: list[float]


@contextmanager
def fixed_latency(latency_ms: float) -> Iterator[str]:
    """The address of a fresh process that answers after so long."""
    command = [sys.executable, "-m", "benchmarks.evaluation_runs.fixed_latency", f"--latency-ms={latency_ms}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def conversations(url: str, key: Callable[[Any], Any]) -> list[Conversation]:
    """Return the requests to the endpoint since the last call, by conversation."""
    found: dict[Any, Conversation] = {}
    for path, body in httpx.get(f"{url}/requests").json():
        found.setdefault(key(body), []).append((path, body))
    return list(found.values())


async def bare(url: str, phases: list[Phase]) -> float:
    """Send them and read every answer to its end; seconds."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60, trust_env=False) as http:
        started = time.perf_counter()
        for phase, side_by_side in phases:
            waiting = iter(phase)

            async def work(waiting: Iterator[Conversation] = waiting) -> None:
                for conversation in waiting:
                    for path, body in conversation:
                        (await http.post(path, json=body)).raise_for_status()

            await asyncio.gather(*(work() for _ in range(side_by_side)))
        return time.perf_counter() - started


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def compare(name: str, rounds: int, url: str, phases: list[Phase], run: Callable[[], object]) -> Figures:
    bare_s: list[float] = []
    evaluation_s: list[float] = []
    for _ in range(rounds):
        bare_s.append(asyncio.run(bare(url, phases)))
        evaluation_s.append(timed(run))
    first, second = statistics.median(bare_s), statistics.median(evaluation_s)
    requests = sum(len(conversation) for phase, _ in phases for conversation in phase)
    shown = [[round(s, 4) for s in each] for each in (bare_s, evaluation_s)]
    return Figures(name, requests, round(first, 4), round(second, 4), round(second / first - 1, 4), *shown)


def agent_suite(url: str, concurrency: int, rounds: int) -> Figures:
    """The weather suite, put to an agent. Its sessions side by side come first, then the cases."""
    suite, gates = load_agent_suite("weather"), AgentGates()

    def run() -> None:
        evaluate(url, suite, gates, EvaluationSettings(concurrency))

    run()  # also imports what it needs
    told = conversations(url, lambda body: body["session_id"])
    sessions, cases = told[: len(suite.isolation.places)], told[len(suite.isolation.places) :]
    phases: list[Phase] = [([[c[i]] for c in sessions], len(sessions)) for i in (0, 1)] + [(cases, concurrency)]
    return compare("weather (agent)", rounds, url, phases, run)


def tool_suite(url: str, concurrency: int, rounds: int) -> Figures:
    """The tool-calling suite, put to an endpoint, streamed and not."""
    suite = load_tool_suite()

    def run() -> None:
        found = measure_tool_calls(url, "m", suite, EvaluationSettings(concurrency)).cases
        assert all(case.solved for case in found), [case.reason for case in found if not case.solved]

    run()
    httpx.get(f"{url}/requests")
    run()
    told = conversations(url, lambda body: (body["messages"][1]["content"], body.get("stream", False)))
    return compare("tool_calling (endpoint)", rounds, url, [(told, concurrency)], run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=250, help="of every answer")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=0.05, help="overhead that is allowed, as a share")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with fixed_latency(args.latency_ms) as url:
        found = [suite(url, args.concurrency, args.rounds) for suite in (agent_suite, tool_suite)]
    facts = {"latency_ms": args.latency_ms, "concurrency": args.concurrency, "rounds": args.rounds, "limit": args.limit}
    figures = facts | {"suites": [asdict(each) for each in found]}
    print(f"{'suite':24} {'requests':>8} {'bare s':>8} {'evaluation s':>12} {'overhead':>9}", file=sys.stderr)
    for each in found:
        line = f"{each.suite:24} {each.requests:8} {each.bare_s:8.3f} {each.evaluation_s:12.3f} {each.overhead:9.1%}"
        print(line, file=sys.stderr)
    write_figures(figures, args.out)
    sys.exit(any(each.overhead > args.limit for each in found))


if __name__ == "__main__":
    main()
