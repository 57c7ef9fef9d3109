"""What a case is, and the waits of all of them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genai_pipeline.core.errors import NotReady
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from tests.cluster.machine.objects import apply

EARLY_S = 150.0
"""The deadline of a wait that is to end before it. All cases start at once, so the last one shows its cause late."""
LATE_S = 100.0
"""The deadline of a wait that is to last until it, or that may; by then its cause shows."""


@dataclass(frozen=True)
class Case:
    """A Deployment. `says`: what its diagnosis must hold; none means that it becomes ready.

    `ends` is whether the wait sees that it is in vain, None where that depends on how often it has crashed by then.
    `beside`: objects that are applied first. `on_unused_pools`: its cause is certain only while no pod runs in a pool,
    since what is in use hides larger instance types. So it waits before the others.
    """

    name: str
    template: dict[str, Any]
    says: tuple[str, ...] = ()
    ends: bool | None = True
    replicas: int = 1
    beside: tuple[dict[str, Any], ...] = ()
    where: str = ""
    on_unused_pools: bool = False
    spec: dict[str, Any] = field(default_factory=dict)

    def manifest(self, namespace: str) -> dict[str, Any]:
        labels = {"app": self.name}
        spec = {"replicas": self.replicas, "selector": {"matchLabels": labels}, **self.spec}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": spec | {"template": {"metadata": {"labels": labels}, "spec": self.template}},
        }


@dataclass(frozen=True)
class Outcome:
    """What the wait said in the end; empty where the Deployment became ready."""

    text: str

    @property
    def in_vain(self) -> bool:
        """Ended because nothing could change, by the error's own words."""
        return bool(self.text) and "not within" not in self.text.splitlines()[0]

    def ended_as(self, ends: bool | None) -> bool:
        """Whether it ended as a case says; None: both are right."""
        return ends is None or self.in_vain == ends


def waited_for(cases: Sequence[Case], namespaces: Mapping[str, str], kubeconfig: Path) -> dict[str, Outcome]:
    """Start all, wait for all at once. Args: namespaces: by the cases' names."""
    first = [case for case in cases if case.on_unused_pools]
    if first and len(first) < len(cases):
        others = [case for case in cases if not case.on_unused_pools]
        return waited_for(first, namespaces, kubeconfig) | waited_for(others, namespaces, kubeconfig)
    objects = [(case, made) for case in cases for made in (*case.beside, case.manifest(namespaces[case.name]))]
    apply(kubeconfig, [o | {"metadata": {"namespace": namespaces[case.name], **o["metadata"]}} for case, o in objects])
    with ThreadPoolExecutor(len(cases)) as pool:
        outcomes = pool.map(lambda case: _waited_for(case, namespaces[case.name], kubeconfig), cases)
        return dict(zip((case.name for case in cases), outcomes, strict=True))


def _waited_for(case: Case, namespace: str, kubeconfig: Path) -> Outcome:
    with closing(KubernetesCluster(namespace, kubeconfig)) as cluster:
        try:
            cluster.wait_ready(case.name, EARLY_S if case.ends else LATE_S)
        except NotReady as error:
            return Outcome(str(error))
        finally:
            # Else it goes on to crash, beside the cases that still wait.
            cluster.delete("Deployment", case.name, None)
        return Outcome("")
