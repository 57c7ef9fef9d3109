"""Which of the nodes that run could host a pod, and why none of them could: labels, taints, resources. Pure.

Whether there is room on them now is another question: `pool_room.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.gateways.cluster.pods import Object, is_of_device, quantity, requests_of, shown
from genai_pipeline.rollout.pools.node_fit import Requirement, pod_terms, tolerates_all

MOST_VALUES = 5
"""So many values of a label are shown."""
KUBERNETES_OWN = "node.kubernetes.io/"
"""Domain of the taints of nodes that are not ready, out of reach or short of something.

Source: Kubernetes documentation, "Well-Known Labels, Annotations and Taints".
"""
_CORRECT = "Correct serving.gpu.selector: `kubectl get nodes --show-labels` shows what nodes have"


def why_no_node(pod: Object, nodes: Sequence[Object]) -> str:
    """Return why no node, were it empty, can host such a pod, and what to change, or an empty text where one can."""
    usable = [n for n in nodes if not _spec(n).get("unschedulable")]
    selected = [n for n in usable if selects(pod, n)]
    enough = [n for n in selected if _is_enough(pod, n)]
    if not usable:
        return f"each of the {len(nodes)} nodes is cordoned" if nodes else "the cluster has no node"
    if not selected:
        return _unselected(pod, usable)
    if not enough:
        return _too_small(pod, selected)
    return "" if any(tolerates_all(pod, _taints(n)) for n in enough) else _untolerated(pod, enough)


def selects(pod: Object, node: Object) -> bool:
    """Return whether the node has the labels that the pod requires."""
    labels = _labels(node)
    return any(all(r.allows(labels.get(r.key)) for r in term) for term in pod_terms(pod))


def _unselected(pod: Object, nodes: Sequence[Object]) -> str:
    terms = pod_terms(pod)
    for wanted in terms[0] if len(terms) == 1 else ():
        if not any(wanted.allows(_labels(n).get(wanted.key)) for n in nodes):
            return f"none of {len(nodes)} nodes has {_written(wanted)}: {_offered(wanted.key, nodes)}. {_CORRECT}"
    asked = " or ".join(" and ".join(map(_written, term)) for term in terms)
    return f"none of {len(nodes)} nodes has {asked} together. {_CORRECT}"


def _written(wanted: Requirement) -> str:
    return f"{wanted.key}: {wanted.values[0]}" if wanted.operator == "In" and len(wanted.values) == 1 else str(wanted)


def _offered(key: str, nodes: Sequence[Object]) -> str:
    values = sorted({str(_labels(n)[key]) for n in nodes if key in _labels(n)})
    if not values:
        return "no node carries that label"
    return f"nodes have {', '.join(values[:MOST_VALUES])}{', …' if len(values) > MOST_VALUES else ''}"


def _is_enough(pod: Object, node: Object) -> bool:
    has = _allocatable(node)
    return all(has.get(name, 0.0) >= amount for name, amount in requests_of(pod).items())


def _too_small(pod: Object, nodes: Sequence[Object]) -> str:
    most = {k: max(_allocatable(n).get(k, 0.0) for n in nodes) for k in requests_of(pod)}
    asked = sorted(requests_of(pod).items())
    lacking = [f"{shown(v)} {k}, and the most is {shown(most[k])}" for k, v in asked if most[k] < v]
    said = "; ".join(lacking) or "all that it asks for together"
    return f"none of the {len(nodes)} nodes that the pod may use has {said}"


def _untolerated(pod: Object, nodes: Sequence[Object]) -> str:
    keeping = sorted({_written_taint(t) for n in nodes for t in _taints(n) if not tolerates_all(pod, [t])})
    if all(taint.startswith(KUBERNETES_OWN) for taint in keeping):
        remedy = "Kubernetes set them: `kubectl describe nodes` shows why"
    elif any(map(is_of_device, requests_of(pod))):
        remedy = "Add them to serving.gpu.tolerations, or select other nodes"
    else:
        remedy = "Add a node without them"
    said = ", ".join(keeping)
    return f"the {len(nodes)} nodes that the pod could use have taints that it does not tolerate: {said}. {remedy}"


def _written_taint(taint: Object) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def _taints(node: Object) -> Sequence[Object]:
    return _spec(node).get("taints") or []


def _allocatable(node: Object) -> dict[str, float]:
    offered = (node.get("status") or {}).get("allocatable") or {}
    return {name: quantity(amount) for name, amount in offered.items()}


def _spec(node: Object) -> Object:
    return node.get("spec") or {}


def _labels(node: Object) -> Object:
    return node["metadata"].get("labels") or {}
