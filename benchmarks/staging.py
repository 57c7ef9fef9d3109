"""Staging beside what people use for it, in one run against the same loopback hub and SeaweedFS.

    python benchmarks/staging.py                        all cases: half an hour, 40 GB of disk
    python benchmarks/staging.py --case "1 x 1 GiB"     one of them
    python benchmarks/staging.py --smoke                everything small, in a minute: does it still run?

Needs the extra `benchmark` (s5cmd). Each round measures everything once, each with
an empty S3. Ratios are medians of those within a round; the JSON has the ratios of the medians too.
The JSON goes to --out (what is there of other cases stays), the table to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from staging_runs import alone, machine  # noqa: E402
from staging_runs.machine import BUCKET, KEYS, MIB, Case  # noqa: E402

from tests.fakes.proxy_process import ProxyProcess  # noqa: E402

KIB, GIB = 1024, 1024 * MIB
CASES = (
    Case("1 x 1 GiB", 1, GIB, 5),
    Case("16 x 64 MiB", 16, 64 * MIB, 5),
    Case("3000 x 10 KiB", 3000, 10 * KIB, 5),
    Case("1 x 8 GiB", 1, 8 * GIB, 1),
)
LARGE = (Case("1 x 16 GiB", 1, 16 * GIB, 1),)
"""By name only: it takes 7 minutes and 52 GB on a machine with 16 cores."""
SMOKE = (Case("1 x 64 MiB", 1, 64 * MIB, 2), Case("4 x 16 MiB", 4, 16 * MIB, 2), Case("50 x 10 KiB", 50, 10 * KIB, 2))
CHANGED = Case("20 x 32 MiB, 10 % changed", 20, 32 * MIB, 1)
LATENCY_S, FAILING = 0.08, 0.01
RUN_DEADLINE_S = 1800

Row = dict[str, Any]


class Bench:
    """One case. `folder` has room for the model, its copy on the peers' way, and what S3 stores."""

    def __init__(self, folder: Path, hub: str, case: Case) -> None:
        self.folder, self.hub, self.case = folder, hub, case

    def round(self, disturbed: bool) -> Row:
        """Everything once, each against an S3 of its own that was just started."""
        row: Row = {}
        on_disk = self.folder / "hub" / self.case.repository / "v1"
        paths = [(p.name, p.stat().st_size) for p in sorted(on_disk.iterdir())]
        sha = self._sha()
        paths = [(f"/{self.case.repository}/resolve/{sha}/{name}", size) for name, size in paths]
        row["hub_alone"] = {n: alone.read_hub(self.case, self.hub, paths, n) for n in (2, 4, 8)}
        writers: dict[str, Callable[[str], float]] = {
            "memory": lambda s3: alone.write_s3_from_memory(self.case, s3),
            "s5cmd": lambda s3: alone.write_s3_by_s5cmd(on_disk, s3),
        }
        row["s3_alone"] = {name: self._with_s3(writer) for name, writer in writers.items()}
        row["ours"] = self._with_s3(lambda s3: self._child("ours", self.hub, s3))
        if disturbed:
            row["disturbed"] = self._with_s3(self._disturbed)
        row["serial"] = self._with_s3(lambda s3: self._child("serial", self.hub, s3))
        row["hf_s5cmd"] = self._with_s3(self._hf_then_s5cmd)
        return row

    def restaged(self) -> Row:
        """The first revision, then the one of which a tenth is new."""

        def both(s3: str) -> Row:
            self._child("ours", self.hub, s3, "v1")
            return self._child("ours", self.hub, s3, "v2")

        return self._with_s3(both)

    def _disturbed(self, s3: str) -> Row:
        with ProxyProcess(self.hub, LATENCY_S, FAILING, 1) as hub, ProxyProcess(s3, LATENCY_S, FAILING, 2) as store:
            return self._child("ours", hub.url, store.url)

    def _child(self, which: str, hub: str, s3: str, ref: str = "main") -> Row:
        with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
            env = {
                **os.environ,
                **KEYS,
                "BUCKET": BUCKET,
                "TMPDIR": temporary,
                "HOME": temporary,
                "PYTHONPATH": str(ROOT),
            }
            command = [sys.executable, str(ROOT / "benchmarks/staging_runs/child.py"), which]
            done = subprocess.run(
                [*command, self.case.repository, hub, s3, "bench", ref],
                env=env, capture_output=True, text=True, timeout=RUN_DEADLINE_S, check=False,
            )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{which} failed on {self.case.name}: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def _hf_then_s5cmd(self, s3: str) -> Row:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            env = {**os.environ, "HF_ENDPOINT": self.hub, "HOME": folder, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
            hf = str(Path(sys.executable).parent / "hf")
            started = time.perf_counter()
            to = Path(folder) / "model"
            subprocess.run(
                [hf, "download", self.case.repository, "--local-dir", str(to)],
                env=env, check=True, timeout=RUN_DEADLINE_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            shutil.rmtree(to / ".cache", ignore_errors=True)
            alone.s5cmd(to, s3, "hf-s5cmd")
            return {"seconds": time.perf_counter() - started}

    def _with_s3(self, work: Callable[[str], Any]) -> Any:
        with machine.s3(self.folder / "s3") as url:
            return work(url)

    def _sha(self) -> str:
        from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub

        hub = HuggingFaceHub(self.hub)
        return hub.resolve(self.case.repository, "main")


def summary(case: Case, rounds: list[Row]) -> Row:
    """Medians over the rounds. Ratios within a round, since a machine's speed drifts, and those of the medians."""

    def middle(of: Callable[[Row], float]) -> float:
        return median(of(row) for row in rounds)

    hub = middle(lambda r: min(r["hub_alone"].values()))
    s3 = middle(lambda r: min(r["s3_alone"].values()))
    ours = middle(lambda r: r["ours"]["seconds"])
    found: Row = {
        "case": case.name, "rounds": len(rounds), "mib": case.bytes / MIB, "files": case.count,
        "hub_alone_s": hub, "s3_alone_s": s3, "ours_s": ours,
        "serial_s": middle(lambda r: r["serial"]["seconds"]),
        "hf_s5cmd_s": middle(lambda r: r["hf_s5cmd"]["seconds"]),
        "peak_rss_mib": max(r["ours"]["peak_rss"] for r in rounds) / MIB,
        "written_to_disk": max(r["ours"]["written_to_disk"] for r in rounds),
        "temporary_files": sum(len(r["ours"]["temporary"]) for r in rounds),
    }  # fmt: skip
    found["of_medians"] = {
        "x_serial": found["serial_s"] / ours,
        "x_hf_s5cmd": found["hf_s5cmd_s"] / ours,
        "x_min_of_both": max(hub, s3) / ours,
    }
    found["x_serial"] = middle(lambda r: r["serial"]["seconds"] / r["ours"]["seconds"])
    found["x_hf_s5cmd"] = middle(lambda r: r["hf_s5cmd"]["seconds"] / r["ours"]["seconds"])
    found["x_min_of_both"] = middle(lambda r: _slower_side(r) / r["ours"]["seconds"])
    if "disturbed" in rounds[0]:
        found["disturbed_s"] = middle(lambda r: r["disturbed"]["seconds"])
        found["x_undisturbed"] = middle(lambda r: r["ours"]["seconds"] / r["disturbed"]["seconds"])
    return found


def _slower_side(row: Row) -> float:
    return max(min(row["hub_alone"].values()), min(row["s3_alone"].values()))


def table(rows: list[Row]) -> str:
    head = (
        "| | hub alone | S3 alone | **staged** | serial job | hf, s5cmd | × serial | × hf, s5cmd | × slower | RSS |"
        "\n|---|---|---|---|---|---|---|---|---|---|"
    )

    def rate(row: Row, name: str) -> str:
        return f"{row['mib'] / row[name]:.0f} MiB/s" if row["mib"] > 500 else f"{row['files'] / row[name]:.0f} files/s"

    lines = [
        f"| {r['case']} | {rate(r, 'hub_alone_s')} | {rate(r, 's3_alone_s')} | **{rate(r, 'ours_s')}** | "
        f"{rate(r, 'serial_s')} | {rate(r, 'hf_s5cmd_s')} | {r['x_serial']:.1f} | {r['x_hf_s5cmd']:.1f} | "
        f"{r['x_min_of_both']:.2f} | {r['peak_rss_mib']:.0f} MiB |"
        for r in rows
    ]
    return "\n".join([head, *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", help="only the one of this name")
    parser.add_argument("--rounds", type=int, help="instead of the case's own number")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--folder", type=Path, help="where there is room; default: the temporary folder")
    parser.add_argument("--out", type=Path, default=Path("staging-benchmark.json"))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of every `finally`: no server stays behind
    known = SMOKE if args.smoke else CASES if args.case is None else CASES + LARGE
    cases = [c for c in known if args.case in (None, c.name)]
    found: Row = json.loads(args.out.read_text()) if args.out.exists() else {"cases": [], "rounds": {}}
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    with tempfile.TemporaryDirectory(prefix="genai-staging-", dir=args.folder) as home:
        for case in cases:
            found["rounds"][case.name] = measure(Path(home) / "case", case, args.rounds or case.rounds)
            kept = [row for row in found["cases"] if row["case"] != case.name]
            found["cases"] = [*kept, summary(case, found["rounds"][case.name])]
            args.out.write_text(json.dumps(found, indent=1))
        if args.case in (None, CHANGED.name):
            found["restaged"] = measure_restaging(Path(home) / "case", args.smoke)
    args.out.write_text(json.dumps(found, indent=1))
    print(table(found["cases"]))
    for row in found["cases"]:
        if "x_undisturbed" in row:
            print(f"{row['case']} with 80 ms and 1 % failing: {row['x_undisturbed']:.2f} of undisturbed")
    if "restaged" in found:
        print(f"restaged with 10 % changed: read {found['restaged']['read_by_changed']:.3f} of the changed bytes")
    return 0


def measure(folder: Path, case: Case, rounds: int) -> list[Row]:
    try:
        machine.write_model(folder / "hub", case)
        with machine.hub(folder / "hub") as hub:
            bench, rows = Bench(folder, hub, case), []
            for number in range(rounds):
                rows.append(bench.round(disturbed=case.count == 1 and case.rounds > 1))
                spent = {"ours": rows[-1]["ours"]["seconds"], "serial": rows[-1]["serial"]["seconds"]}
                print(f"{case.name}, round {number + 1}: {spent}", file=sys.stderr, flush=True)
            return rows
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure_restaging(folder: Path, smoke: bool) -> Row:
    case = Case("restaged", 20, MIB if smoke else CHANGED.size, 1)
    try:
        machine.write_model(folder / "hub", case, changed=0.1)
        with machine.hub(folder / "hub") as hub:
            row = Bench(folder, hub, case).restaged()
        changed = round(case.count * 0.1) * case.size
        return {**row, "changed": changed, "read_by_changed": row["from_hub"] / changed}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
