"""One way that the traffic of a lane goes while clients ask, its last switch killed and run again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genai_pipeline.core.release import Release
from tests.cluster.lane import Lane
from tests.cluster.load import Load, Seen
from tests.cluster.machine.cluster import until
from tests.cluster.machine.namespaces import create_namespace, delete_namespace

ABORTS = {
    "before": "rollout.candidate_applied",
    "early": "rollout.selector_moved",
    "middle": "rollout.pointer_written",
    "late": "rollout.drained",
}
HEAD_ENDS_S = 180
"""With a Redis a pod of KubeRay's cleans it up after the head has ended, before the head's release has no pods."""


@dataclass
class Case:
    """What one path with one abort came to."""

    seen: Seen
    killed: int | str
    rerun: int | str
    state: dict[str, Any]
    wanted: dict[str, Any]


@contextmanager
def lane_in(cluster: Any, namespace: str, **settings: Any) -> Iterator[Lane]:
    """A lane in a namespace of its own. Args: settings: those of the lane."""
    create_namespace(cluster.kubeconfig, namespace)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Lane(cluster.kubeconfig, namespace, Path(folder), **settings)
    finally:
        delete_namespace(cluster.kubeconfig, namespace)


def run_case(lane: Lane, load: Load, through: Sequence[Release], crash_at: str, requests: int) -> Case:
    """Roll out one after the other; the last is killed and run again."""
    load.take()
    *undisturbed, old, new = through
    for step in [*undisturbed, old][1:]:
        ended = lane.roll_out_elsewhere(step)
        assert ended == 0, f"undisturbed step to {step.id}: {ended} · {load.look().causes}"
    killed, rerun = lane.roll_out_elsewhere(new, crash_at), lane.roll_out_elsewhere(new)
    until(lambda: load.look().sent.total() >= requests, f"{requests} requests")
    until(lambda: old.id not in lane.head_releases(), f"the end of the head of {old.id}", HEAD_ENDS_S)
    return Case(load.take(), killed, rerun, lane.state(), lane.wanted(new, old))
