"""Can the nodes pull the images? A pod of each image on the nodes where it would run, with a command that is not there.

The image's own program does not start: kubelet pulls the image, and then finds no such command.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from genai_pipeline.cli.doctor import Finding
from genai_pipeline.cli.probe.probe_jobs import Seen
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.pods import Object, has_pods, is_ready, pod_groups
from genai_pipeline.k8s.render import render_chat_ui, render_release
from genai_pipeline.rollout.pools.node_labels import ARCHITECTURE, INSTANCE_TYPE, NODE_POOL
from genai_pipeline.rollout.pools.node_offer import why_no_node
from genai_pipeline.rollout.pools.pool_proof import is_simulated

NODES_MAX = 3
"""So many nodes are asked for each image, of different pools, architectures and instance types."""
COMMAND = ("/genai-probe",)
LONGEST_SAID = 300


@dataclass(frozen=True)
class ImageUse:
    """An image, who uses it, and the spec of the pods that do. `component` is their label of that name."""

    image: str
    who: str
    component: str
    pod: Object

    @property
    def container(self) -> Object:
        """Return the container that uses the image."""
        return next(c for c in containers_of(self.pod) if c["image"] == self.image)


def image_uses(specs: Sequence[ModelSpec], profile: Profile) -> list[ImageUse]:
    """Return every image of a rollout of these models: engines, agents, the chat front end.

    A model that cannot be rendered is left out. The rest of the report says why.
    """
    found: list[ImageUse] = []
    for spec in specs:
        try:
            release = Release.of(spec, "0" * 40)
            found += _uses(render_release(spec, release, profile), {"engine": spec.name, "agent": f"{spec.name}-agent"})
        except GenaiError:
            continue
    return [*found, *_uses(render_chat_ui(profile, specs), {"chat-ui": "the chat front end"})]


def _uses(objects: Sequence[Object], called: Mapping[str, str]) -> Iterator[ImageUse]:
    for group in (g for o in objects if has_pods(o) for g in pod_groups(o)):
        labels, pod = group.template["metadata"].get("labels") or {}, group.template["spec"]
        component = labels.get("app.kubernetes.io/component") or ""
        who = called.get(component) or called.get("engine") or component  # the head of Ray is a part of its engine
        for image in {c["image"] for c in containers_of(pod)}:
            yield ImageUse(image, who, component, pod)


def containers_of(pod: Object) -> list[Object]:
    return [*(pod.get("initContainers") or []), *pod["containers"]]


def placed(uses: Sequence[ImageUse], nodes: Sequence[Object]) -> tuple[dict[tuple[str, str], ImageUse], list[Finding]]:
    """Return (image, node) -> who uses it there, and a finding for each image that no node can be asked about."""
    on: dict[tuple[str, str], ImageUse] = {}
    nowhere: list[Finding] = []
    for use in uses:
        names, why = nodes_for(use.pod, nodes)
        for name in names:
            there = on.get((use.image, name))
            known = there.who.split(", ") if there else []
            on[use.image, name] = replace(use, who=", ".join(dict.fromkeys([*known, use.who])))
        if not names:
            what = f"{use.who}: whether a node can pull {use.image} was not tried: {why}"
            nowhere.append(Finding("warn", what, "Run this again when there is such a node."))
    return on, list(dict.fromkeys(nowhere))


def nodes_for(pod: Object, nodes: Sequence[Object]) -> tuple[list[str], str]:
    """Return the nodes to ask of those that run and may host the pod, and why there are none."""
    kinds: dict[tuple[str, ...], str] = {}
    for node in nodes:
        if is_ready(node) and not is_simulated(node) and not why_no_node(pod, [node]):
            labels = node["metadata"].get("labels") or {}
            kind = tuple(str(labels.get(key)) for key in (NODE_POOL, ARCHITECTURE, INSTANCE_TYPE))
            kinds.setdefault(kind, node["metadata"]["name"])
    if kinds:
        return list(kinds.values())[:NODES_MAX], ""
    if nodes and all(map(is_simulated, nodes)):
        return [], "the nodes are simulated and pull nothing"
    return [], why_no_node(pod, nodes) or "no node that it may use is ready"


def is_answered(seen: Seen) -> bool:
    """Return whether the node has the image, or never will."""
    return seen.has_image or bool(seen.cause and seen.cause.final)


def image_finding(use: ImageUse, node: str, seen: Seen, deadline_s: float) -> Finding:
    """Return what became of an image on a node."""
    if seen.has_image:
        return Finding("ok", f"{use.who}: node {node} has {use.image}")
    if cause := seen.cause:
        said = f" ({seen.said[:LONGEST_SAID]})" if seen.said and seen.said not in cause.what else ""
        return Finding("fail", f"{use.who}: on node {node}: {cause.what}{said}", cause.remedy)
    if any(e.reason == "Pulling" for e in seen.events):
        what = f"{use.who}: node {node} still pulls {use.image} after {deadline_s:g} s"
        return Finding("warn", what, "The registry has it. A rollout waits longer; `--deadline` does too.")
    what = f"{use.who}: node {node} did not begin to pull {use.image} within {deadline_s:g} s"
    return Finding("warn", f"{what}{f' ({seen.said[:LONGEST_SAID]})' if seen.said else ''}", "See the node's kubelet.")
