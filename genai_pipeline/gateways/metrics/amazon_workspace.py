"""A workspace of Amazon Managed Prometheus, as its address names it, and what one needs there.

Sources: Amazon Managed Service for Prometheus user guide, "IAM permissions" and "Interface VPC endpoints".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WRITE, QUERY = "aps:RemoteWrite", "aps:QueryMetrics"
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
