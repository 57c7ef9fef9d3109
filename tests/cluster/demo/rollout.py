"""The demo's rollout as `genai up` shows one: its progress, the addresses at its end, and an answer to a question."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from rich.console import Console

from genai_pipeline.cli.first_look import addresses, first_answer
from genai_pipeline.cli.progress_view import progress_on
from genai_pipeline.cli.rollout_progress import ENDS, ProgressReader, RolloutProgress
from genai_pipeline.cli.up import require_live
from genai_pipeline.core.errors import NotReady
from genai_pipeline.core.model_file import read_models
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.dagster_api import DagsterApi
from genai_pipeline.resources.real_gateways import gateways_for
from tests.cluster.demo.installation import NAMESPACE, Demo
from tests.cluster.machine.namespaces import what_happened
from tests.cluster.machine.waiting import until

DEADLINE_S, CHAT_DEADLINE_S, POLL_S = 45 * 60, 120, 2.0


class ThroughDoors:
    """The addresses of Services as this machine's browser has them."""

    def __init__(self, demo: Demo, cluster: Cluster) -> None:
        self._demo, self._cluster = demo, cluster

    def endpoint(self, name: str) -> str:
        found = self._cluster.get("Service", name)
        if not found:
            raise NotReady(f"There is no Service {name} yet.", "It comes with the first release that is live.")
        spec = found["spec"]
        return self._demo.url(name, spec["ports"][0]["port"], spec["clusterIP"])


def show_rollout(demo: Demo, console: Console) -> None:
    """Show the rollout of what the hub has until it ends, then what is live.

    Raises: ReleaseRefused: a check failed. NotReady: no end within the deadline, with what the cluster says.
        ModelFileError: the demo's model file was changed, and is wrong.
    """
    os.environ |= demo.outside
    profile = Profile.load(os.environ)
    gateways, api = gateways_for(profile), DagsterApi(profile.dagster_url)
    files = read_models(demo.folder / "models")
    for error in files.errors:
        raise error
    specs = files.specs
    seen = [_watched(demo, ProgressReader(gateways, api), spec, console) for spec in specs]
    require_live(seen, console, api)
    for spec in specs:
        for line in _presented(demo, spec, gateways, profile.dagster_url):
            console.print(line, markup=False, soft_wrap=True)


def _watched(demo: Demo, reader: ProgressReader, spec: ModelSpec, console: Console) -> RolloutProgress:
    end = time.monotonic() + DEADLINE_S
    with progress_on(console) as progress:
        while (seen := reader.look(spec)).state not in ENDS:
            progress.show([seen])
            if time.monotonic() > end:
                said = what_happened(demo.cluster.outside_kubeconfig, NAMESPACE)
                raise NotReady(
                    f"{spec.name} is not live within {DEADLINE_S // 60} min: {seen.state} {seen.note}\n{said}\n"
                    f"--- daemon\n{demo.log('daemon')}",
                    "It goes on by itself: `make cluster-demo` shows it again.",
                )
            time.sleep(POLL_S)
        progress.show([seen])
    return seen


def _presented(demo: Demo, spec: ModelSpec, gateways: Gateways, dagster: str) -> list[str]:
    with suppress(TimeoutError):  # the chat page comes after the traffic
        until(lambda: gateways.cluster.get("Service", "chat-ui"), "the chat page", CHAT_DEADLINE_S)
    here = replace(gateways, cluster=cast(Any, ThroughDoors(demo, gateways.cluster)))
    return ["", f"Dagster UI    {dagster}", *addresses(here, spec), "", *first_answer(here, spec)]
