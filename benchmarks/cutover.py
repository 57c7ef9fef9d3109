"""What clients lose while the release behind an address changes.

It sends completions through the address, half of them on new connections and half on kept ones.
It reports how many failed, why, and the longest time without an answer.

    python benchmarks/cutover.py --url http://127.0.0.1:18000 --model weather-agent --seconds 30
    python benchmarks/cutover.py --url … --model … --until-root s3://genai/models/weather-agent/<revision>/
    python benchmarks/cutover.py --url … --model … -- genai promote weather-agent

Ends with status 1 if a request failed. The figures go to standard output (or --out) as JSON.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from figures import write_figures

from genai_pipeline.loadtest.probe import ContinuousProbe, ProbeResult, judge_probe

AFTERWARDS_S = 3.0
"""The old release is still draining when a switch reports success."""


def watch(args: argparse.Namespace) -> tuple[ProbeResult, dict[str, Any]]:
    """Probe until the end that was asked for; the facts say how it ended."""
    facts: dict[str, Any] = {"rate_per_s": args.rate, "url": args.url}
    with ContinuousProbe(args.url, args.model, rate_per_s=args.rate, max_s=args.deadline + AFTERWARDS_S) as probe:
        if args.command:
            command = subprocess.run(args.command, check=False, timeout=args.deadline, stdout=sys.stderr)
            facts["exit_status"] = command.returncode
        elif args.until_root:
            wanted = args.until_root.rstrip("/")
            facts["reached"] = probe.wait_for(
                lambda seen: wanted in {root.rstrip("/") for root in seen.roots}, args.deadline
            )
        else:
            probe.wait_for(lambda seen: False, args.seconds)
        if not args.seconds:
            probe.wait_for(lambda seen: False, AFTERWARDS_S)
    return probe.result(), facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="the stable address, without /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rate", type=float, default=10, help="requests per second, both kinds together")
    parser.add_argument("--seconds", type=float, default=0, help="watch for this long")
    parser.add_argument("--until-root", default="", help="watch until the engine says it was loaded from here")
    parser.add_argument("--deadline", type=float, default=900, help="of the command or the condition, in seconds")
    parser.add_argument("--out", type=Path)
    parser.add_argument("command", nargs="*", help="watch while this runs")
    args = parser.parse_args()
    if sum(map(bool, (args.seconds, args.until_root, args.command))) != 1:
        parser.error("give exactly one of --seconds, --until-root and a command")
    result, facts = watch(args)
    figures = facts | asdict(result) | {"verdict": judge_probe(result).to_json()}
    print(judge_probe(result).summary, file=sys.stderr)
    write_figures(figures, args.out)
    sys.exit(1 if result.total_failed else facts.get("exit_status", 0) or (not facts.get("reached", True)))


if __name__ == "__main__":
    main()
