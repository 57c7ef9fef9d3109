"""How long `genai_pipeline.definitions:defs` takes to load, in a fresh interpreter, with 1 and with 100 models.

    python benchmarks/definitions_load.py [--runs 5] [--out figures.json]

Every load is a process of its own, as Dagster's code server is; the median is reported beside the
time that `import dagster` alone takes on the same machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from figures import write_figures

REPOSITORY = Path(__file__).resolve().parent.parent
MODEL_COUNTS = (1, 100)
LOAD = """
import time; began = time.perf_counter()
from genai_pipeline.definitions import defs
repository = (defs() if callable(defs) and not hasattr(defs, "get_repository_def") else defs).get_repository_def()
keys = repository.asset_graph.get_all_asset_keys()
print(time.perf_counter() - began, len(keys))
"""
DAGSTER = "import time; began = time.perf_counter(); import dagster; print(time.perf_counter() - began, 0)"


def write_models(folder: Path, count: int) -> None:
    """Model files that differ in name and source."""
    for number in range(count):
        text = f"name: bench-{number:03d}\nsource: {{hub: example/model-{number:03d}, ref: main}}\n"
        text += "serving: {args: {enable-auto-tool-choice: true, tool-call-parser: mistral}}\n"
        (folder / f"bench-{number:03d}.yaml").write_text(text)


def load_once(code: str, models: Path, home: Path) -> tuple[float, int]:
    """Seconds and number of assets of one load in a fresh interpreter."""
    env = os.environ | {"GENAI_MODELS": str(models), "GENAI_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=home, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise SystemExit(f"The definitions do not load:\n{done.stderr}")
    seconds, assets = done.stdout.split()[-2:]
    return float(seconds), int(assets)


def measure(code: str, count: int, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        models, home = Path(scratch) / "models", Path(scratch) / "home"
        models.mkdir()
        home.mkdir()
        write_models(models, count)
        loads = [load_once(code, models, home) for _ in range(runs)]
    seconds = [load[0] for load in loads]
    return {"models": count, "assets": loads[-1][1], "median_s": statistics.median(seconds), "runs_s": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    args = parser.parse_args()
    rows = [measure(DAGSTER, 0, args.runs) | {"what": "import dagster"}]
    rows += [measure(LOAD, count, args.runs) | {"what": "definitions"} for count in MODEL_COUNTS]
    print(f"{'what':16} {'models':>6} {'assets':>6} {'median s':>9}   runs")
    for row in rows:
        runs = " ".join(f"{seconds:.2f}" for seconds in row["runs_s"])
        print(f"{row['what']:16} {row['models']:6} {row['assets']:6} {row['median_s']:9.2f}   {runs}")
    figures = {"python": sys.version.split()[0], "cpus": os.cpu_count(), "loads": rows}
    write_figures(figures, args.out)


if __name__ == "__main__":
    main()
