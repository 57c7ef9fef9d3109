"""How long it takes from a breach to the traffic's return, warm as during the watch and from zero as after it.

Real processes on a local cluster of its own: fake engines (tests/fakes/openai_server.py), so that no model's loading
is in the figures but that of `--ready-s`, and the real agent.

    python benchmarks/rollback.py                       # 20 times warm, 5 times cold
    python benchmarks/rollback.py --warm 50 --cold 0 --out rollback.json

`begin`: from the call that a breach makes to the selectors and the pointer being on the last good release.
`answered`: until the first completion through the stable address comes from it. `finish`: until the bad one is gone.
For the cold ones `begin` and `finish` are one: the last good release is started from zero first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from figures import write_figures

from genai_pipeline.gateways.cluster.local import LocalCluster
from genai_pipeline.k8s.render import release_alias
from genai_pipeline.local.supervision.supervisor import Supervisor
from tests.faults.rollback.conftest import Stage
from tests.faults.rollout.conftest import EngineDaemon


@dataclass(frozen=True)
class Run:
    """Seconds. `failed` of the completions that were sent from the breach until the first answer."""

    warm: bool
    begin_s: float
    answered_s: float
    finish_s: float
    failed: int


def once(stage: Stage, warm: bool) -> Run:
    """Promote, break, go back."""
    bad = stage.promote()
    engines = stage.engines
    if not warm:
        engines.candidates().stop(stage.good)
    stage.break_engine(bad, broken=True)
    inference = engines.gateways.inference(engines.traffic().url("tiny") or "")
    began = time.monotonic()
    engines.roll_back().begin("tiny", "measured", "benchmark")
    if not warm:
        engines.roll_back().finish("tiny", lambda _: None)
    begin_s = time.monotonic() - began
    failed = 0
    while not _answers(inference, release_alias(stage.good)):
        failed += 1
    answered_s = time.monotonic() - began
    engines.roll_back().finish("tiny", lambda _: None)
    return Run(warm, begin_s, answered_s, time.monotonic() - began, failed)


def _answers(inference: Any, name: str) -> bool:
    from genai_pipeline.core.errors import EngineUnavailable, Refused

    try:
        return bool(inference.chat(name, [{"role": "user", "content": "Hello"}], max_tokens=4).text)
    except (EngineUnavailable, Refused):
        return False


def summary(runs: list[Run]) -> list[dict[str, Any]]:
    """p50 and p95 (nearest rank) of what was measured, in seconds."""
    rows: list[dict[str, Any]] = []
    for warm in (True, False):
        mine = [run for run in runs if run.warm is warm]
        for what in ("begin_s", "answered_s", "finish_s") if mine else ():
            values = sorted(getattr(run, what) for run in mine)
            p95 = values[max(0, -(-95 * len(values) // 100) - 1)]
            rows.append(
                {
                    "last good": "warm" if warm else "from zero",
                    "what": what,
                    "n": len(values),
                    "p50": round(statistics.median(values), 3),
                    "p95": round(p95, 3),
                    "max": round(values[-1], 3),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", type=int, default=20, help="repetitions with the last good release warm")
    parser.add_argument("--cold", type=int, default=5, help="and with it scaled to zero")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        home = Path(folder)
        daemon = EngineDaemon(home).start()
        try:
            stage = Stage(LocalCluster(daemon.url, "benchmark"))
            runs = [once(stage, warm) for warm in [True] * args.warm + [False] * args.cold]
        finally:
            daemon.stop()
            Supervisor(daemon.home).shutdown()
    rows = summary(runs)
    figures = {"summary": rows, "runs": [asdict(run) for run in runs]}
    print(f"{'last good':10} {'what':11} {'n':>3} {'p50 s':>8} {'p95 s':>8} {'max s':>8}", file=sys.stderr)
    for r in rows:
        line = f"{r['last good']:10} {r['what']:11} {r['n']:3} {r['p50']:8.3f} {r['p95']:8.3f} {r['max']:8.3f}"
        print(line, file=sys.stderr)
    write_figures(figures, args.out)


if __name__ == "__main__":
    main()
