"""How often the evaluation rejects v3 of the demo model, which is regressed on purpose, and how often v2, which is not.

The real vLLM on the demo's real weights and the real agent service, each in a process of its own; v1 is live, as in the
demo. Every evaluation is a whole one: the suite and the gates of models/weather.yaml, held against v1.

    python benchmarks/regressed_release.py                 # 20 evaluations of each
    python benchmarks/regressed_release.py -n 2 --versions v3 --out regressed.json

Ends with status 1 unless v2 passed and v3 failed every time. Needs 6 GB of memory and the serving extra.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from figures import write_figures

from benchmarks.evaluation_runs.served_version import ROOT, Served, served
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import worst
from genai_pipeline.evaluation.agent_suite import AgentSuite
from genai_pipeline.evaluation.evaluate import Baseline, EvaluationSettings, evaluate, measure_agent
from genai_pipeline.evaluation.suite_files import load_agent_suite
from genai_pipeline.local.weather_server import WeatherServer

LIVE = "v1"
EXPECTED = {"v2": "passed", "v3": "failed"}


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: its outcome as a whole, and what each check that did not pass says."""

    version: str
    outcome: str
    seconds: float
    not_passed: dict[str, str]


class Bench:
    """The suite, and what every version is asked with and held against."""

    def __init__(self, spec: ModelSpec, suite: AgentSuite, weather_url: str) -> None:
        self.spec, self.suite, self.weather_url = spec, suite, weather_url
        self.settings = EvaluationSettings(spec.gates.conversations, weather_url=weather_url)

    def against(self, live: Served) -> Baseline:
        """Ask the live version once and keep its results, as in a rollout."""
        stored = measure_agent(live.agent_url, self.suite, self.settings, print_progress)
        return Baseline(live.version, live.agent_url, stored)

    def evaluate(self, candidate: Served, against: Baseline) -> Evaluation:
        gates, started = self.spec.gates, time.monotonic()
        found = evaluate(
            candidate.agent_url,
            self.suite,
            gates.agent,
            self.settings,
            against=against,
        )
        not_passed = {v.check: f"{v.outcome}: {v.summary}" for v in found.verdicts if not v.passed}
        outcome = str(worst(v.outcome for v in found.verdicts))
        return Evaluation(candidate.version, outcome, round(time.monotonic() - started, 2), not_passed)


def print_progress(message: str) -> None:
    print(f"  {message}", file=sys.stderr)


@contextmanager
def demo_weather() -> Iterator[str]:
    server = WeatherServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.url
    finally:
        server.stop()


def run(bench: Bench, versions: list[str], times: int, logs: Path) -> list[Evaluation]:
    found: list[Evaluation] = []
    with served(LIVE, bench.spec, bench.weather_url, logs) as live:
        against = bench.against(live)
        for version in versions:
            with served(version, bench.spec, bench.weather_url, logs) as candidate:
                for number in range(1, times + 1):
                    found.append(bench.evaluate(candidate, against))
                    last = found[-1]
                    told = f"{version} {number}/{times}: {last.outcome} in {last.seconds:.1f} s"
                    print(f"{told} {', '.join(last.not_passed)}", file=sys.stderr)
    return found


def table(found: list[Evaluation], versions: list[str]) -> list[dict[str, Any]]:
    """Count the outcomes, and for each check how often it did not pass."""
    rows: list[dict[str, Any]] = []
    for version in versions:
        mine = [each for each in found if each.version == version]
        outcomes = Counter(each.outcome for each in mine)
        checks = Counter(check for each in mine for check in each.not_passed)
        counts = {outcome: outcomes[outcome] for outcome in ("passed", "failed", "inconclusive")}
        rows.append({"version": version, "n": len(mine), **counts, "checks": dict(checks.most_common())})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=20, help="evaluations of each version")
    parser.add_argument("--versions", nargs="+", default=["v2", "v3"], choices=sorted(EXPECTED))
    parser.add_argument("--logs", type=Path, help="keep the logs of engines and agents there")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    spec = parse_model((ROOT / "models" / "weather.yaml").read_text(), "models/weather.yaml")
    with demo_weather() as weather_url, tempfile.TemporaryDirectory(prefix="regressed-") as folder:
        logs = args.logs or Path(folder)
        logs.mkdir(parents=True, exist_ok=True)
        bench = Bench(spec, load_agent_suite(spec.gates.agent.suite), weather_url)
        found = run(bench, args.versions, args.n, logs)
    rows = table(found, args.versions)
    figures = {"live": LIVE, "summary": rows, "evaluations": [asdict(each) for each in found]}
    print(f"{'version':8} {'n':>3} {'passed':>7} {'failed':>7} {'inconclusive':>13}  not passed", file=sys.stderr)
    for r in rows:
        line = (
            f"{r['version']:8} {r['n']:3} {r['passed']:7} {r['failed']:7} {r['inconclusive']:13}  {r['checks'] or ''}"
        )
        print(line, file=sys.stderr)
    write_figures(figures, args.out)
    sys.exit(any(each.outcome != EXPECTED[each.version] for each in found))


if __name__ == "__main__":
    main()
