"""What must hold of everything that we render: the list of the policies, and how they look at objects.

Each policy takes all objects and yields what breaks it. They stand in `pod_policies.py` and `platform_policies.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.unit.k8s.everything import Object, templates_of

Broken = Iterator[str]
Policy = Callable[[list[Object]], Broken]

POLICIES: dict[str, Policy] = {}


def policy(function: Policy) -> Policy:
    POLICIES[function.__name__] = function
    return function


def pods(objects: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Name, the object, and its pod spec."""
    for manifest in objects:
        for template in templates_of(manifest):
            yield f"{manifest['kind']} {manifest['metadata']['name']}", manifest, template["spec"]


def containers(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for name, _, pod in pods(objects):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}: container {container['name']}", container


def serving(objects: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Deployments: a probe pod serves nobody."""
    return ((name, manifest, pod) for name, manifest, pod in pods(objects) if manifest["kind"] == "Deployment")


def of_kind(objects: list[Object], *kinds: str) -> Iterator[tuple[str, Object]]:
    return ((f"{o['kind']} {o['metadata']['name']}", o) for o in objects if o["kind"] in kinds)


def labels_of_pods(objects: list[Object]) -> list[dict[str, str]]:
    return [t["metadata"]["labels"] for o in objects for t in templates_of(o)]


def strings(value: Any) -> Iterator[str]:
    """Every string within, keys included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value
