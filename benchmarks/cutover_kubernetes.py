"""What a rollout takes on a real Kubernetes node, pods and all, while clients ask all the time.

Moves the traffic of one model to and fro and prints, as JSON: from the verdict that lets a release go live to its
first answer to a client; from Kubernetes' report that a Deployment is available to the end of our wait for it; calls
to the API server per rollout; requests lost. Engines are the tests' fake ones, so that the figures are the cut-over's.

    python -m tests.cluster.machine run -- python benchmarks/cutover_kubernetes.py --switches 20

Ends with status 1 if a request failed. Seconds mean something only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from kubernetes import client, watch

from genai_pipeline.core.release import Release
from tests.cluster.lane import MODEL, SPEC, Lane, release
from tests.cluster.load import Load
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.cluster.machine.objects import api

FIRST_ANSWER_S, READINESS_S, CALLS = 2.0, 0.5, 60
"""What is asked of them at the 95th percentile."""


class Reported(threading.Thread):
    """When Kubernetes first said that a Deployment is available, by our clock: a bare watch and nothing else."""

    def __init__(self, kubeconfig: Path, namespace: str, deployment: str) -> None:
        super().__init__(daemon=True)
        self._kubeconfig, self._namespace, self._deployment = kubeconfig, namespace, deployment
        self.at: float | None = None
        self.start()

    def run(self) -> None:
        with api(self._kubeconfig) as connection:
            apps, name = client.AppsV1Api(connection), f"metadata.name={self._deployment}"
            follow = watch.Watch().stream(
                apps.list_namespaced_deployment, self._namespace, field_selector=name, timeout_seconds=120
            )
            for event in follow:
                status: Any = event["object"].status  # type: ignore[index,union-attr]
                if status.available_replicas and not status.unavailable_replicas:
                    self.at = time.monotonic()
                    return


def one_switch(lane: Lane, new: Release, load: Load) -> dict[str, float]:
    """Roll `new` out; the figures of it in seconds, and its calls."""
    calls = lane.cluster.calls.total
    reported = Reported(lane.kubeconfig, lane.namespace, new.object_name)
    lane.candidates.start_engine(SPEC, new, lambda _: None)
    seen_at = time.monotonic()
    reported.join(10)
    lane.prove(new)
    load.look()
    verdict_at = time.time()
    lane.go_live(new)
    seen = load.look()
    figures = {
        "first_answer_s": seen.first_at[f"{MODEL}@{new.id}"] - verdict_at,
        "calls": float(lane.cluster.calls.total - calls),
    }
    if reported.at is not None:
        figures["readiness_s"] = max(0.0, seen_at - reported.at)
    load.forget_times()
    return figures


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return {"n": len(values), "p50": round(statistics.median(values), 3), "p95": round(p95, 3)}


def measure(kubeconfig: Path, namespace: str, switches: int, rate: float) -> dict[str, Any]:
    """All switches on one pair of releases."""
    with tempfile.TemporaryDirectory() as folder:
        lane = Lane(kubeconfig, namespace, Path(folder))
        pair = (release("a"), release("b"))
        lane.roll_out(pair[0])
        with Load(lane.url, MODEL, rate) as load:
            rounds = [one_switch(lane, pair[(number + 1) % 2], load) for number in range(switches)]
            seen = load.take()
    names = {"first_answer_s": FIRST_ANSWER_S, "readiness_s": READINESS_S, "calls": CALLS}
    figures: dict[str, Any] = {
        name: percentiles([r[name] for r in rounds if name in r]) | {"asked_p95": asked}
        for name, asked in names.items()
    }
    return figures | {"requests": seen.sent.total(), "failed": seen.failed.total(), "causes": dict(seen.causes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", type=Path, default=os.environ.get("KUBECONFIG"))
    parser.add_argument("--namespace", default="bench-cutover", help="made for it, and removed afterwards")
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--rate", type=float, default=150, help="requests per second of the clients")
    args = parser.parse_args()
    if args.kubeconfig is None:
        parser.error("set KUBECONFIG, or give --kubeconfig")
    create_namespace(Path(args.kubeconfig), args.namespace)
    try:
        figures = measure(Path(args.kubeconfig), args.namespace, args.switches, args.rate)
    finally:
        delete_namespace(Path(args.kubeconfig), args.namespace)
    print(json.dumps(figures, indent=1))
    sys.exit(1 if figures["failed"] else 0)


if __name__ == "__main__":
    main()
