"""A workspace of Amazon Managed Prometheus, as its address names it, and what one needs there.

Sources: Amazon Managed Service for Prometheus user guide, "IAM permissions" and "Interface VPC endpoints".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from genai_pipeline.core.profile import Profile

WRITE, QUERY = "aps:RemoteWrite", "aps:QueryMetrics"
_AMAZONS = "aps-workspaces."
_WORKSPACE = re.compile(r"/workspaces/(?P<id>[^/]+)")
_REGION = re.compile(r"^https?://[^/]*\baps-workspaces(?:-fips)?\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.")


@dataclass(frozen=True)
class Workspace:
    """`region`: where it is, or None where its address does not say so, as that of a proxy."""

    id: str
    region: str | None = None

    def needs(self, action: str, who: str, region: str) -> str:
        """Return what a role has to allow, as one sentence.

        Args:
            action: of IAM, as `aps:QueryMetrics`.
            who: whose role it is.
            region: what is said where the address names none.
        """
        return f"The role of {who} needs {action} on workspace {self.id} in region {self.region or region}."


def workspace_of(url: str) -> Workspace | None:
    """Return the workspace that an address leads to, or None where it leads to another Prometheus."""
    workspace, region = _WORKSPACE.search(url), _REGION.search(url)
    return Workspace(workspace["id"], region["region"] if region else None) if workspace else None


def signing_region(profile: Profile) -> str | None:
    """Return the region that requests to the Prometheus of an installation are signed for, or None without a signature.

    A workspace may be in another region than the cluster, and AWS takes only signatures for its own. Another Prometheus
    on EKS takes no signature, and a proxy before it might refuse an Authorization header.
    """
    url = profile.prometheus_url or ""
    if profile.name != "eks" or _AMAZONS not in url:
        return None
    workspace = workspace_of(url)
    return (workspace.region if workspace else None) or profile.region
