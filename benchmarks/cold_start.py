"""From the start of an engine's pod to its first completion: cold, with restored compile caches, by vLLM's defaults.

The pod is what `genai render` writes: its arguments, its environment, its init containers. A folder at a constant path
stands for its /tmp, and is emptied before each start. The first start is cold. Its compile caches are pulled as the
pipeline pulls them, and the other starts restore them as a pod does. Pulling an image is not part of a start.

    python benchmarks/cold_start.py                  # the demo model on this machine's CPU, against an S3 of its own
    python benchmarks/cold_start.py s3://bucket/models/m8/r1/ --starts 10 --vllm-defaults --tmp /tmp
    python benchmarks/cold_start.py s3://bucket/models/m8/r1/ --once cold       # and later: --once restored

Needs vLLM, boto3 and this package, and for another model than the demo's an S3 with it: AWS_ENDPOINT_URL and keys.
Each start prints a line of JSON and appends it to --out at once, so that a run that was stopped keeps what it measured.
`phases` are seconds between lines of vLLM's log, each named by the line that ends it. `compiled`: starts whose log
says that the model was compiled, though perhaps from parts that were there. On a processor the log does not say it.
With `--tmp /tmp` the caches in /tmp are deleted: only for a machine that nothing else uses.

Ends with status 1 if a start failed, or if one that had to restore did not.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine_starts import Bench, Row, demo_model, machine, serving_of

from genai_pipeline.core.quantiles import quantile

KINDS = ("cold", "restored", "defaults")


def summary(rows: Sequence[Row]) -> list[Row]:
    """Return what each kind of start took. Only a start that restored counts as restored."""
    found: list[Row] = []
    for kind in KINDS:
        mine = [row for row in rows if row["kind"] == kind and "total_s" in row]
        mine = [row for row in mine if kind != "restored" or _hit(row)]
        if not mine:
            continue
        totals = [row["total_s"] for row in mine]
        names = list(dict.fromkeys(name for row in mine for name in row["phases"]))
        medians = {n: round(statistics.median(row["phases"].get(n, 0.0) for row in mine), 2) for n in names}
        p50, p95 = quantile(totals, 0.5), quantile(totals, 0.95)
        found.append({
            "kind": kind, "n": len(mine), "p50_s": p50, "p95_s": p95, "min_s": min(totals), "max_s": max(totals),
            "compiled": sum(row["compiled"] for row in mine), "phases_p50": medians,
        })  # fmt: skip
    return found


def _hit(row: Row) -> bool:
    return (row.get("restored") or {}).get("reason") == "hit"


def table(found: Sequence[Row]) -> str:
    head = f"{'start':10} {'n':>3} {'p50 s':>7} {'p95 s':>7} {'min s':>7} {'max s':>7} {'compiled':>8}"
    lines = [f"{head}  median seconds of each phase"]
    for row in found:
        parts = ", ".join(f"{name} {seconds:g}" for name, seconds in row["phases_p50"].items())
        lines.append(
            f"{row['kind']:10} {row['n']:3} {row['p50_s']:7.1f} {row['p95_s']:7.1f} {row['min_s']:7.1f} "
            f"{row['max_s']:7.1f} {row['compiled']:8}  {parts}"
        )
    return "\n".join(lines)


def run(bench: Bench, options: argparse.Namespace) -> Iterator[Row]:
    """Yield each start."""
    if options.once:
        if options.once == "restored":
            bench.find_archive()
        yield bench.start(options.once, bench.pull if options.once == "cold" else lambda: None)
        return
    yield bench.start("cold", bench.pull)
    kinds = ("restored", "defaults") if options.vllm_defaults else ("restored",)
    for _, kind in itertools.product(range(options.starts), kinds):  # in turn: a machine's speed drifts
        yield bench.start(kind)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="s3://<bucket>/models/<name>/<revision>/; default: the demo model")
    parser.add_argument("--starts", type=int, default=3, help="restored starts, and as many by vLLM's defaults")
    parser.add_argument("--once", choices=KINDS, help="one start of this kind only")
    parser.add_argument("--prefetch", action="store_true", help="with `serving.weights: prefetch`")
    parser.add_argument("--vllm-defaults", action="store_true", help="also without what the pipeline adds, in turn")
    parser.add_argument("--serving", default="{}", help="JSON of fields of `serving`, such as args, gpu, resources")
    parser.add_argument("--tmp", type=Path, default=Path(tempfile.gettempdir()) / "genai-cold-start")
    parser.add_argument("--out", type=Path, default=Path("cold-start.jsonl"), help="each start is appended here")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of every `finally`: no engine stays behind
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="genai-")))
        model = options.model or stack.enter_context(demo_model(folder))
        log = options.out.absolute().with_suffix(".log")
        bench, where = Bench(model, serving_of(options), options.tmp.absolute(), log), machine()
        for row in run(bench, options):
            rows.append(row | {"machine": where, "serving": bench.spec.serving.hashed})
            text = json.dumps(rows[-1])
            with options.out.open("a") as out:
                out.write(text + "\n")
            print(text, flush=True)
    print(table(summary(rows)), file=sys.stderr)
    missed = [r for r in rows if r["kind"] == "restored" and not _hit(r)]
    return 1 if missed or any("error" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
