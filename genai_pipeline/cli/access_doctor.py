"""`genai doctor` about what the cluster knows and allows: kinds of operators, and the verbs of the pipeline's Role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from genai_pipeline.cli.doctor import Finding
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways.cluster.abc import Cluster, Permission
from genai_pipeline.gateways.threads import each
from genai_pipeline.k8s.render import OPTIONAL_KINDS, Objects, render_rbac

ROLE_REMEDY = "An administrator applies `genai render --rbac`; see docs/kubernetes.md."
AT_ONCE = 8
SHOWN = 6
OF_EKS = ("NodePool", "NodeClass")
NO_AUTO_MODE = "Switch EKS Auto Mode on. Where nodes are the cluster's own, use GENAI_PROFILE=kubernetes."


def role_findings(profile: Profile, cluster: Cluster) -> list[Finding]:
    """Ask for each verb of the Role whether this identity has it."""
    wanted = permissions_of(render_rbac(profile), profile.namespace)
    allowed = each(cluster.may, wanted, AT_ONCE, "may")
    missing = [str(asked) for asked, has in zip(wanted, allowed, strict=True) if not has]
    if not missing:
        return [Finding("ok", f"this identity has the {len(wanted)} permissions of the Role")]
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    what = f"this identity may not {', '.join(missing[:SHOWN])}{more}, in namespace {profile.namespace}"
    return [Finding("fail", what, ROLE_REMEDY)]


def permissions_of(rbac: Objects, namespace: str) -> list[Permission]:
    """Return what the Role and the ClusterRole among these objects grant, in their order."""
    return [
        Permission(verb, group, resource, namespace if role["kind"] == "Role" else "", name)
        for role in rbac
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    ]


def eks_findings(profile: Profile, cluster: Cluster) -> list[Finding]:
    """Look for the kinds of EKS Auto Mode. A dry run of platform/node_pools does without them."""
    if not profile.has_eks_nodes:
        return []
    return list(_unknown(OF_EKS, cluster)) or [Finding("ok", f"the cluster knows {' and '.join(OF_EKS)}")]


def _unknown(kinds: Sequence[str], cluster: Cluster) -> Iterator[Finding]:
    for kind in kinds:
        if not cluster.knows(kind):
            yield Finding(
                "fail", f"the cluster does not know {kind}, which {OPTIONAL_KINDS[kind]} brings", NO_AUTO_MODE
            )
