"""What a wait must know of a kind: which pods and events are an object's own, and when it is ready. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.pod_readiness import readiness_of_pod
from genai_pipeline.gateways.cluster.diagnosis.ray_readiness import readiness_of_ray
from genai_pipeline.gateways.cluster.diagnosis.readiness import Readiness, readiness_of
from genai_pipeline.gateways.cluster.pods import is_of_deployment, is_of_ray_service

POD_NAME_MAX, SUFFIX = 63, 5
RAY_NODES: Mapping[str, Any] = {"matchLabels": {"ray.io/is-ray-node": "yes"}}


@dataclass(frozen=True)
class WaitedKind:
    """The knowledge of one kind.

    Args:
        selector: the label selector that matches the pods of an object, and perhaps more.
        owns: (pod, name of the object) -> whether the pod is its own.
        is_about: (kind, name) that an event is about, and the object's name -> whether it is about the object, or about
            what the object makes.
        readiness: (object, what was read beside it) -> how far its newest generation is.
    """

    selector: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    owns: Callable[[Mapping[str, Any], str], bool]
    is_about: Callable[[str, str, str], bool]
    readiness: Callable[[Mapping[str, Any], Evidence], Readiness]


def _about_deployment(kind: str, called: str, name: str) -> bool:
    """Controllers name what they make `<deployment>-<template hash>` and `<that>-<5 letters>`, cut to 63 letters."""
    if kind == "Deployment":
        return called == name
    if kind == "ReplicaSet":
        return called.rsplit("-", 1)[0] == name
    if kind != "Pod":
        return False
    cut = len(called) == POD_NAME_MAX
    stem = called[:-SUFFIX]
    return called.rsplit("-", 2)[0] == name or (cut and (stem.startswith(f"{name}-") or name.startswith(stem)))


def _about_ray_service(kind: str, called: str, name: str) -> bool:
    """KubeRay names the cluster `<service>-<5 letters>`, and its pods `<that>[-<group>]-<head|worker>-<5 letters>`.

    It cuts what is before the type to 50 letters. Source: KubeRay 1.5.1, `utils.PodName`.
    """
    if kind == "RayService":
        return called == name
    if kind == "RayCluster":
        return called.rsplit("-", 1)[0] == name
    return kind == "Pod" and bool(re.fullmatch(rf"{re.escape(name)}-.*(head|worker)-[a-z0-9]+", called))


WAITED: Mapping[str, WaitedKind] = {
    "Deployment": WaitedKind(
        lambda found: found["spec"]["selector"], is_of_deployment, _about_deployment, readiness_of
    ),
    "RayService": WaitedKind(lambda _: RAY_NODES, is_of_ray_service, _about_ray_service, readiness_of_ray),
    "Pod": WaitedKind(
        lambda pod: {"matchLabels": pod["metadata"]["labels"]},
        lambda pod, name: pod["metadata"]["name"] == name,
        lambda kind, called, name: (kind, called) == ("Pod", name),
        readiness_of_pod,
    ),
}
