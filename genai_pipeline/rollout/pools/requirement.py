"""One node requirement: which values of a label it lets through, and which instances all of several let through. Pure.

Source: Karpenter documentation, "Scheduling"; Kubernetes documentation, "Assigning Pods to Nodes: operators".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.rollout.pools.auto_mode_labels import (
    ARCHITECTURE,
    CATEGORY,
    CPU,
    FAMILY,
    GENERATION,
    GPU_COUNT,
    GPU_LABELS,
    GPU_MANUFACTURER,
    GPU_NAME,
    INSTANCE_TYPE,
    MEMORY,
    SIZE,
    SOMETIMES_ABSENT,
    VALUES,
)
from genai_pipeline.rollout.pools.instance_types import (
    AUTO_MODE_FAMILIES,
    GPU_NAMES,
    InstanceType,
    category_of,
    generation_of,
    types_of,
)

OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"})


@dataclass(frozen=True)
class Requirement:
    """A label, an operator and its values, as in a NodePool or in a pod's node affinity."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Requirement:
        return cls(written["key"], written.get("operator", "In"), tuple(map(str, written.get("values") or ())))

    def allows(self, value: str | None) -> bool:
        """Whether a node with this value of the label passes; None: it does not carry the label."""
        if value is None:
            return self.operator in ("NotIn", "DoesNotExist")
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Gt" | "Lt":
                return self._compares(value)
            case _:
                return self.operator == "Exists"

    def _compares(self, value: str) -> bool:
        if not (value.isdigit() and len(self.values) == 1 and self.values[0].isdigit()):
            return False
        return int(value) > int(self.values[0]) if self.operator == "Gt" else int(value) < int(self.values[0])

    def __str__(self) -> str:
        if self.operator in ("Exists", "DoesNotExist"):
            return f"{self.key} {self.operator}"
        shown = ", ".join(self.values)
        return f"{self.key} {self.operator} " + (shown if self.operator in ("Gt", "Lt") else f"[{shown}]")


Labels = Mapping[str, str | None]
"""An instance's labels. One that is missing is not known here; None means that the node does not carry it."""


def instances() -> Iterator[Labels]:
    """What Auto Mode can start, as labels: every size of the families whose sizes are known, else the family alone."""
    for family in AUTO_MODE_FAMILIES:
        sizes = types_of(family)
        yield from (map(labels_of, sizes) if sizes else (_of_family(family),))


def labels_of(one: InstanceType) -> Labels:
    """The labels of a node of this type."""
    return _of_family(one.family) | _of_type(one)


def satisfiable(requirements: Sequence[Requirement]) -> bool:
    """Whether some instance, or some one value of each label, passes them all."""
    about_instances = [r for r in requirements if r.key in _INSTANCE_LABELS]
    if not any(all(r.key not in one or r.allows(one[r.key]) for r in about_instances) for one in instances()):
        return False
    keys = {r.key for r in requirements}
    return all(_one_value_passes([r for r in requirements if r.key == key]) for key in keys)


def excluding_each_other(requirements: Sequence[Requirement]) -> list[Requirement]:
    """The fewest of them that cannot be met together: one, a pair, or all; empty when all can."""
    if satisfiable(requirements):
        return []
    for one in requirements:
        if not satisfiable([one]):
            return [one]
    for at, one in enumerate(requirements):
        for other in requirements[at + 1 :]:
            if not satisfiable([one, other]):
                return [one, other]
    return list(requirements)


def _one_value_passes(same_key: Sequence[Requirement]) -> bool:
    key, named = same_key[0].key, {v for r in same_key for v in r.values}
    if key in VALUES:
        candidates: set[str | None] = {*VALUES[key], *({None} if key in SOMETIMES_ABSENT else ())}
    else:
        # A value that nobody names stands for all others; a number beside each named one for the open ranges.
        beside = {str(int(v) + d) for v in named if v.isdigit() for d in (-1, 1) if int(v) + d >= 0}
        candidates = {*named, *beside, "any other", None}
    return any(all(r.allows(value) for r in same_key) for value in candidates)


def _of_family(family: str) -> dict[str, str | None]:
    gpu = GPU_NAMES.get(family)
    labels: dict[str, str | None] = {
        FAMILY: family,
        CATEGORY: category_of(family),
        GENERATION: generation_of(family) or None,
        ARCHITECTURE: "arm64" if _is_graviton(family) else "amd64",
    }
    if gpu is None:
        return labels | dict.fromkeys(GPU_LABELS)
    return labels | {GPU_NAME: gpu, GPU_MANUFACTURER: "amd" if gpu.startswith("radeon") else "nvidia"}


def _of_type(one: InstanceType) -> dict[str, str | None]:
    labels: dict[str, str | None] = {
        INSTANCE_TYPE: one.name,
        SIZE: one.size,
        CPU: str(one.vcpus),
        MEMORY: str(one.memory_gib * 1024),
    }
    return labels | ({GPU_COUNT: str(one.gpus)} if one.gpus else {})


def _is_graviton(family: str) -> bool:
    """The `g` after the generation, as in m7g and im4gn; g5g has it too."""
    return "g" in family.removeprefix(category_of(family)).lstrip("0123456789").partition("-")[0]


_INSTANCE_LABELS = GPU_LABELS | {FAMILY, CATEGORY, GENERATION, ARCHITECTURE, INSTANCE_TYPE, SIZE, CPU, MEMORY}
