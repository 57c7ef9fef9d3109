"""Finds requirements of node pools and pods that are misspelt, or that no node can ever meet. Pure.

Karpenter does not report them: a NodePool with a misspelt eks.amazonaws.com label stays Ready, and a pod that selects
it stays Pending for ever. So each requirement is compared with what EKS Auto Mode knows before it is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from genai_pipeline.core.did_you_mean import closest, suggestion
from genai_pipeline.core.verdict import Verdict, judge
from genai_pipeline.gateways.cluster.pods import Object, pod_groups
from genai_pipeline.k8s.templating import MANAGED_BY
from genai_pipeline.rollout.pools.instance_types import packaged
from genai_pipeline.rollout.pools.node_fit import OPERATORS, Requirement, pod_terms, some_instance_passes
from genai_pipeline.rollout.pools.node_labels import (
    ARCHITECTURE,
    CATEGORY,
    EKS,
    FAMILY,
    INSTANCE_LABELS,
    NODE_LABELS,
    NOT_IN_AUTO_MODE,
    NUMBERS,
    OWN_KARPENTER,
    PATTERNS,
    POOL_LABELS,
    RESERVED_DOMAINS,
    values_of,
)

LIVE = "live_requirements_known"
SIZED_BY = (INSTANCE_LABELS | NUMBERS) - {ARCHITECTURE}
"""Labels that choose among the instance types."""
SIMILAR = 0.84
"""From this similarity to a known label on, an unknown label counts as misspelt."""


@dataclass(frozen=True)
class RequirementProblem:
    """One requirement that no node can meet: where it is, its label, what is wrong, what to do."""

    where: str
    label: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.remedy}".strip()


def judge_requirements(pools: Sequence[Object], workloads: Sequence[Object]) -> Verdict:
    """Return the verdict requirements_known: can a node of EKS Auto Mode meet each requirement of pools and pods?"""
    found = [*(p for pool in pools for p in pool_problems(pool)), *(p for w in workloads for p in pod_problems(w))]
    counted = f"{len(pools)} pools and {len(workloads)} workloads"
    summary = " · ".join(map(str, found)) if found else f"Every requirement of {counted} can be met."
    rows = [{"where": p.where, "label": p.label, "problem": p.what, "remedy": p.remedy} for p in found]
    return judge("requirements_known", not found, summary, problems=rows)


def live_problems(pools: Sequence[Object]) -> list[RequirementProblem]:
    """Return what is wrong with the NodePools in a cluster of EKS: those of Auto Mode's class, and ours."""
    judged = [
        p for p in pools if _is_auto_modes(p) or MANAGED_BY.items() <= (p["metadata"].get("labels") or {}).items()
    ]
    return [problem for pool in judged for problem in pool_problems(pool)]


def judge_live_requirements(pools: Sequence[Object]) -> Verdict:
    """Return the verdict live_requirements_known. Karpenter ignores a misspelt label, and buys without it."""
    found = live_problems(pools)
    names = ", ".join(p["metadata"]["name"] for p in pools) or "none"
    summary = " · ".join(map(str, found)) if found else f"Each requirement of the NodePools is known ({names})."
    rows = [{"where": p.where, "label": p.label, "problem": p.what, "remedy": p.remedy} for p in found]
    return judge(LIVE, not found, summary, problems=rows)


def pool_problems(pool: Object) -> list[RequirementProblem]:
    """Return what is wrong with a NodePool's class, labels, operators and values."""
    where, spec = f"NodePool {pool['metadata']['name']}", pool["spec"]["template"]["spec"]
    own = pool["spec"]["template"].get("metadata", {}).get("labels", {})
    required = [Requirement.of(r) for r in spec.get("requirements", [])]
    labelled = [Requirement(key, "In", (str(value),)) for key, value in own.items() if key.startswith(RESERVED_DOMAINS)]
    found = [
        *_class_problems(where, spec.get("nodeClassRef", {})),
        *_problems(where, [*required, *labelled], POOL_LABELS),
    ]
    return found or list(_open_problems(where, required))


def pod_problems(workload: Object) -> list[RequirementProblem]:
    """Return what is wrong with the node selector and the required node affinity of the pods that an object makes."""
    where = f"{workload['kind']} {workload['metadata']['name']}"
    terms = (term for group in pod_groups(workload) for term in pod_terms(group.template["spec"]))
    # The terms are alternatives. Each of them has to be right, because a misspelt one is never meant.
    unique = {str(p): p for term in terms for p in _problems(where, term, NODE_LABELS)}
    return list(unique.values())


def _class_problems(where: str, ref: Object) -> Iterator[RequirementProblem]:
    """Yield a problem for a class that Karpenter does not know. It ignores such a pool and does not say so."""
    found = f"{ref.get('kind')}.{ref.get('group')}"
    if found != "NodeClass.eks.amazonaws.com":
        what = f"nodeClassRef is {found}, which Auto Mode ignores."
        yield RequirementProblem(where, "nodeClassRef", what, "Use kind NodeClass of group eks.amazonaws.com.")


def _open_problems(where: str, required: Sequence[Requirement]) -> Iterator[RequirementProblem]:
    """Yield a problem for a pool that may bring any instance type, those with GPUs too."""
    if not any(r.key in SIZED_BY and r.operator not in ("NotIn", "DoesNotExist") for r in required):
        what = "no requirement restricts the instance types, so that a node may be of any."
        yield RequirementProblem(where, "requirements", what, f"Require {FAMILY} or {CATEGORY}.")


def _is_auto_modes(pool: Object) -> bool:
    return (pool["spec"]["template"]["spec"].get("nodeClassRef") or {}).get("group") == EKS.rstrip("/")


def _problems(where: str, requirements: Sequence[Requirement], labels: frozenset[str]) -> list[RequirementProblem]:
    """Return misspelt requirements; without any, the requirements that no instance type meets together."""
    single = [
        RequirementProblem(where, r.key, what, remedy) for r in requirements for what, remedy in _wrong(r, labels)
    ]
    known = packaged("")
    if single or some_instance_passes(requirements, known):
        return single
    alone = [r for r in requirements if not some_instance_passes([r], known)]
    said = " and ".join(map(str, alone[:1] or requirements))
    return [RequirementProblem(where, requirements[0].key, f"no instance of Auto Mode has {said}.", "Change a value.")]


def _wrong(requirement: Requirement, labels: frozenset[str]) -> Iterator[tuple[str, str]]:
    key = requirement.key
    if key in NOT_IN_AUTO_MODE and key not in labels:
        yield f"{key} is not a label of Auto Mode's pools.", NOT_IN_AUTO_MODE[key]
    elif key not in labels:
        yield from _unknown_label(key, labels)
    else:
        yield from _wrong_operator(requirement)
        yield from _wrong_values(requirement)


def _unknown_label(key: str, labels: frozenset[str]) -> Iterator[tuple[str, str]]:
    domain = key.rpartition("/")[0]
    if key.startswith(OWN_KARPENTER):
        right = EKS + key.removeprefix(OWN_KARPENTER)
        yield f"{key} is a label of a self-managed Karpenter, not of EKS Auto Mode.", _suggestion(right, labels)
    elif domain.endswith(tuple(d.rstrip("/") for d in RESERVED_DOMAINS)) or closest(key, labels, SIMILAR):
        yield f"no node carries the label {key}.", _suggestion(key, labels)


def _wrong_operator(requirement: Requirement) -> Iterator[tuple[str, str]]:
    key, operator, values = requirement.key, requirement.operator, requirement.values
    if operator not in OPERATORS:
        yield f"{key}: the operator {operator} is unknown.", _suggestion(operator, OPERATORS)
    elif operator in ("In", "NotIn") and not values:
        yield f"{key} {operator} [] {'matches nothing' if operator == 'In' else 'excludes nothing'}.", "Give it values."
    elif operator in ("Exists", "DoesNotExist") and values:
        yield f"{key} {operator} takes no values.", "Leave them out, or use In."
    elif operator in ("Gt", "Lt") and (len(values) != 1 or not values[0].isdigit() or key not in NUMBERS):
        yield f"{key} {operator} [{', '.join(values)}] does not compare numbers.", "Gt and Lt take one whole number."


def _wrong_values(requirement: Requirement) -> Iterator[tuple[str, str]]:
    key, allowed = requirement.key, values_of(requirement.key)
    if requirement.operator not in ("In", "NotIn"):
        return
    for value in requirement.values:
        if allowed is not None and value not in allowed:
            yield f"{key} is never {value!r}.", _suggestion(value, allowed)
        elif key in NUMBERS and not value.isdigit():
            yield f"{key} is never {value!r}.", "It is a whole number."
        elif key in PATTERNS and not re.fullmatch(PATTERNS[key][0], value):
            yield f"{key} is never {value!r}.", f"It is {PATTERNS[key][1]}."


def _suggestion(word: str, known: Iterable[str]) -> str:
    """Return what was probably meant, or the allowed words, those with the same first letter first."""
    return suggestion(word, sorted(known, key=lambda k: (k[:1] != word[:1], k)))
