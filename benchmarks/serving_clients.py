"""The load test of the serving report beside vLLM's own `vllm bench serve`, on one engine.

Both send the same prompts, as many requests of the same length, at the same concurrency. They take turns, and which of
them begins changes, so that the machine's other work is in both. The prefix cache is off: each finds the engine alike.

    python benchmarks/serving_clients.py                        # the demo model on this machine's CPU, ten pairs
    python benchmarks/serving_clients.py --pairs 20 --out serving-clients.json
    python benchmarks/serving_clients.py --url http://127.0.0.1:8000 --model m --tokenizer FOLDER    # a running engine

`ratio` is the median of `ours / theirs` within a pair, `from` and `to` are the quartiles of these ratios. TTFT is from
the request to the first part of the answer. Tokens are those of the engine's own count, `usage`.

Ends with status 1 where the median says less than 0.95 of the tokens/s, or another TTFT by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from figures import write_figures

from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.quantiles import quantile
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.loadtest.arrivals import plan_steps
from genai_pipeline.loadtest.load_test import OUTPUT_TOKENS, measure
from genai_pipeline.loadtest.prompts import prompt

Row = dict[str, float]
FIGURES = ("tokens_per_s", "ttft_p50_ms", "ttft_p95_ms")
LEAST_TOKENS, MOST_OFF = 0.95, 0.05
CLIENT_DEADLINE_S = 1200
BENCH_SERVE = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
"""What the command `vllm bench serve` runs. In the CPU build the command itself ends: it looks for a package `vllm`."""


def ours(url: str, model: str, gates: ServingGates) -> Row:
    """Measure as `m/serving_report` does, with its samples of the engine's metrics."""
    report = measure(url, model, gates, EngineMetricsReader())
    if report.summary["answered"] < report.summary["requests"]:
        raise SystemExit(f"{report.summary['requests'] - report.summary['answered']} requests of the load test failed.")
    return {name: report.summary[name] for name in FIGURES}


def theirs(url: str, model: str, tokenizer: str, gates: ServingGates, folder: Path) -> Row:
    """Measure by `vllm bench serve`. Of its data sets ShareGPT's needs no package that vLLM's CPU build lacks."""
    last = plan_steps(gates.requests, gates.at_concurrency)[-1]
    first = gates.requests - last.requests
    asked = [{"conversations": [{"value": prompt(n)}, {"value": "-"}]} for n in range(first, gates.requests)]
    (folder / "prompts.json").write_text(json.dumps(asked))
    command = [
        sys.executable, "-c", BENCH_SERVE, "--backend=openai-chat", f"--base-url={url}",
        "--endpoint=/v1/chat/completions", f"--model={model}", f"--tokenizer={tokenizer}", "--dataset-name=sharegpt",
        f"--dataset-path={folder / 'prompts.json'}", f"--sharegpt-output-len={OUTPUT_TOKENS}", "--disable-shuffle",
        "--ignore-eos", "--temperature=0", f"--num-prompts={last.requests}", f"--max-concurrency={last.concurrency}",
        f"--num-warmups={min(last.concurrency, 8)}", "--percentile-metrics=ttft",
        "--disable-tqdm", "--save-result", "--save-detailed", f"--result-dir={folder}", "--result-filename=theirs.json",
    ]  # fmt: skip
    env = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=CLIENT_DEADLINE_S, check=False)
    if done.returncode:
        raise SystemExit(f"vllm bench serve ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads((folder / "theirs.json").read_text())
    if found["completed"] < last.requests:
        raise SystemExit(f"{last.requests - found['completed']} requests of vllm bench serve failed.")
    times = [1e3 * seconds for seconds in found["ttfts"]]  # its own percentiles lie between two requests
    return {
        "tokens_per_s": found["output_throughput"],
        "ttft_p50_ms": quantile(times, 0.5),
        "ttft_p95_ms": quantile(times, 0.95),
    }


def summary(pairs: Sequence[dict[str, Row]]) -> dict[str, Row]:
    """Return for each figure the medians of both, and the ratios within pairs: the median and the quartiles."""
    found: dict[str, Row] = {}
    for name in FIGURES:
        ratios = [pair["ours"][name] / pair["theirs"][name] for pair in pairs]
        found[name] = {
            "ours": round(statistics.median(pair["ours"][name] for pair in pairs), 1),
            "theirs": round(statistics.median(pair["theirs"][name] for pair in pairs), 1),
            "ratio": round(statistics.median(ratios), 3),
            "from": round(quantile(ratios, 0.25), 3),
            "to": round(quantile(ratios, 0.75), 3),
        }
    return found


def differs(found: dict[str, Row]) -> list[str]:
    """Return the figures in which the two do not agree."""
    slow = [name for name in FIGURES[:1] if found[name]["ratio"] < LEAST_TOKENS]
    return slow + [name for name in FIGURES[1:] if abs(found[name]["ratio"] - 1) > MOST_OFF]


def table(found: dict[str, Row]) -> str:
    lines = [f"{'':14}{'ours':>9}{'theirs':>9}{'ratio':>8}{'from':>8}{'to':>8}"]
    for name, row in found.items():
        values = f"{row['ours']:9.1f}{row['theirs']:9.1f}{row['ratio']:8.3f}{row['from']:8.3f}{row['to']:8.3f}"
        lines.append(f"{name:14}{values}")
    return "\n".join(lines)


@contextmanager
def engine(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield address, name of the model, and folder of its tokenizer."""
    if options.url:
        yield options.url, options.model, options.tokenizer or options.model
        return
    from tests.fakes.demo_engines import CHAT, DEMO, alone

    with alone([*CHAT, "--no-enable-prefix-caching"], folder) as running:
        yield running.url, "m", str(DEMO)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--requests", type=int, default=96, help="of the load test; its last step is compared")
    parser.add_argument("--url", help="of an engine that runs, without /v1; start it with --no-enable-prefix-caching")
    parser.add_argument("--model", default="m")
    parser.add_argument("--tokenizer", help="folder, with --url")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of every `finally`: no engine stays behind
    gates = ServingGates(at_concurrency=options.concurrency, requests=options.requests)
    pairs: list[dict[str, Row]] = []
    with tempfile.TemporaryDirectory() as name, engine(options, Path(name)) as (url, model, tokenizer):
        clients = {
            "ours": lambda: ours(url, model, gates),
            "theirs": lambda: theirs(url, model, tokenizer, gates, Path(name)),
        }
        for number in range(options.pairs):
            order = list(clients) if number % 2 else list(reversed(clients))
            pairs.append({client: clients[client]() for client in order})
            print(f"pair {number + 1}: {pairs[-1]}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    found = summary(pairs)
    print(table(found), file=sys.stderr)
    asked = {"concurrency": options.concurrency, "requests": options.requests, "tokens": OUTPUT_TOKENS}
    write_figures({"cores": os.cpu_count(), **asked, "summary": found, "pairs": pairs}, options.out)
    sys.exit(1 if differs(found) else 0)


if __name__ == "__main__":
    main()
