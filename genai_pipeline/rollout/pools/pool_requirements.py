"""Requirements that are misspelt, or that no node can ever meet, in node pools and in pods. Pure.

Karpenter says nothing about them: a NodePool with a misspelt eks.amazonaws.com label stays Ready, and a pod that
selects it is Pending for ever. So they are held against what EKS Auto Mode knows, before anything is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.did_you_mean import closest
from genai_pipeline.core.verdict import Verdict, judge
from genai_pipeline.rollout.pools.auto_mode_labels import (
    EKS,
    NODE_LABELS,
    NOT_IN_AUTO_MODE,
    NUMBERS,
    OWN_KARPENTER,
    PATTERNS,
    POOL_LABELS,
    RESERVED_DOMAINS,
    VALUES,
)
from genai_pipeline.rollout.pools.requirement import OPERATORS, Requirement, excluding_each_other

Object = Mapping[str, Any]
ALIKE = 0.84
"""How alike a label has to be to a known one to be taken for it misspelt."""
SHOWN_VALUES = 12


@dataclass(frozen=True)
class Problem:
    """One thing that no node can meet: where it stands, what is wrong, what would be right."""

    where: str
    label: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.remedy}".strip()


def judge_requirements(pools: Sequence[Object], deployments: Sequence[Object]) -> Verdict:
    """Can every requirement of these pools and of these deployments' pods be met by a node of EKS Auto Mode?"""
    found = [*(p for pool in pools for p in pool_problems(pool)), *(p for d in deployments for p in pod_problems(d))]
    counted = f"{len(pools)} pools and {len(deployments)} deployments"
    summary = " · ".join(map(str, found)) if found else f"Every requirement of {counted} can be met."
    rows = [{"where": p.where, "label": p.label, "problem": p.what, "remedy": p.remedy} for p in found]
    return judge("requirements_known", not found, summary, problems=rows)


def pool_problems(pool: Object) -> list[Problem]:
    """What is wrong with a NodePool's class, labels, operators and values, and which of them exclude each other."""
    where, spec = f"NodePool {pool['metadata']['name']}", pool["spec"]["template"]["spec"]
    own = pool["spec"]["template"].get("metadata", {}).get("labels", {})
    required = [Requirement.of(r) for r in spec.get("requirements", [])]
    labelled = [Requirement(key, "In", (str(value),)) for key, value in own.items() if key.startswith(RESERVED_DOMAINS)]
    return [
        *_class_problems(where, spec.get("nodeClassRef", {})),
        *_problems(where, [*required, *labelled], POOL_LABELS),
    ]


def pod_problems(deployment: Object) -> list[Problem]:
    """What is wrong with the node selector and the required node affinity of a Deployment's (or Job's) pods."""
    where, pod = f"{deployment['kind']} {deployment['metadata']['name']}", deployment["spec"]["template"]["spec"]
    # Terms are alternatives, and all the same each has to be right: a misspelt one is never meant.
    unique = {str(p): p for term in pod_terms(pod) for p in _problems(where, term, NODE_LABELS)}
    return list(unique.values())


def pod_terms(pod: Object) -> list[list[Requirement]]:
    """What a pod requires of its node: alternatives, each a list of requirements that hold together."""
    selected = [Requirement(key, "In", (str(value),)) for key, value in (pod.get("nodeSelector") or {}).items()]
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [
        [Requirement.of(r) for r in t.get("matchExpressions") or []] for t in required.get("nodeSelectorTerms", [])
    ]
    return [[*selected, *term] for term in terms] or [selected]


def _class_problems(where: str, ref: Object) -> Iterator[Problem]:
    """Karpenter ignores a pool whose class it does not know, without a word."""
    found = f"{ref.get('kind')}.{ref.get('group')}"
    if found != "NodeClass.eks.amazonaws.com":
        what = f"nodeClassRef is {found}, which Auto Mode ignores."
        yield Problem(where, "nodeClassRef", what, "Use kind NodeClass of group eks.amazonaws.com.")


def _problems(where: str, requirements: Sequence[Requirement], known: frozenset[str]) -> Iterator[Problem]:
    single = [Problem(where, r.key, what, remedy) for r in requirements for what, remedy in _wrong(r, known)]
    yield from single
    excluding = [] if single else excluding_each_other(requirements)
    if len(excluding) == 1:
        yield Problem(where, excluding[0].key, f"no node of Auto Mode has {excluding[0]}.", "Choose other values.")
    elif excluding:
        said = " and ".join(map(str, excluding))
        yield Problem(where, excluding[0].key, f"{said} exclude each other: no instance meets all.", "Change one.")


def _wrong(requirement: Requirement, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    key = requirement.key
    if key in NOT_IN_AUTO_MODE and key not in known:
        yield f"{key} is no label of Auto Mode's pools.", NOT_IN_AUTO_MODE[key]
    elif key not in known:
        yield from _unknown_label(key, known)
    else:
        yield from _wrong_operator(requirement)
        yield from _wrong_values(requirement)


def _unknown_label(key: str, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    if key.startswith(OWN_KARPENTER):
        right = EKS + key.removeprefix(OWN_KARPENTER)
        yield f"{key} is a label of Karpenter run by oneself, not of EKS Auto Mode.", _did_you_mean(right, known)
    elif _domain(key).endswith(tuple(d.rstrip("/") for d in RESERVED_DOMAINS)) or closest(key, known, ALIKE):
        yield f"no node carries the label {key}.", _did_you_mean(key, known)


def _wrong_operator(requirement: Requirement) -> Iterator[tuple[str, str]]:
    key, operator, values = requirement.key, requirement.operator, requirement.values
    if operator not in OPERATORS:
        yield f"{key}: {operator} is no operator.", _did_you_mean(operator, OPERATORS)
    elif operator in ("In", "NotIn") and not values:
        yield f"{key} {operator} [] {'matches nothing' if operator == 'In' else 'excludes nothing'}.", "Give it values."
    elif operator in ("Exists", "DoesNotExist") and values:
        yield f"{key} {operator} takes no values.", "Leave them out, or use In."
    elif operator in ("Gt", "Lt") and (len(values) != 1 or not values[0].isdigit() or key not in NUMBERS):
        yield f"{key} {operator} [{', '.join(values)}] compares no number.", "Gt and Lt take one whole number."


def _wrong_values(requirement: Requirement) -> Iterator[tuple[str, str]]:
    key = requirement.key
    if requirement.operator not in ("In", "NotIn"):
        return
    for value in requirement.values:
        if key in VALUES and value not in VALUES[key]:
            yield f"{key} is never {value!r}.", _did_you_mean(value, VALUES[key])
        elif key in NUMBERS and not value.isdigit():
            yield f"{key} is never {value!r}.", "It is a whole number."
        elif key in PATTERNS and not re.fullmatch(PATTERNS[key][0], value):
            yield f"{key} is never {value!r}.", f"It is {PATTERNS[key][1]}."


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = closest(word, known, 0.6)
    if close:
        return f"Did you mean {close}?"
    known = sorted(known, key=lambda k: (k[:1] != word[:1], k))
    return f"Known: {', '.join(known[:SHOWN_VALUES])}{' …' if len(known) > SHOWN_VALUES else ''}."


def _domain(key: str) -> str:
    return key.rpartition("/")[0]
