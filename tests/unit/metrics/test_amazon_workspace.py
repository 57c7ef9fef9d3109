"""An address of Amazon Managed Prometheus says which workspace it is, and mostly in which region."""

from __future__ import annotations

import pytest

from genai_pipeline.gateways.metrics.amazon_workspace import Workspace, workspace_of


@pytest.mark.parametrize(
    ("url", "workspace"),
    [
        ("https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-1", Workspace("ws-1", "eu-west-1")),
        ("https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-1/api/v1/query", Workspace("ws-1", "eu-west-1")),
        ("https://aps-workspaces-fips.us-gov-west-1.amazonaws.com/workspaces/w", Workspace("w", "us-gov-west-1")),
        ("https://vpce-0a.aps-workspaces.us-east-2.vpce.amazonaws.com/workspaces/w", Workspace("w", "us-east-2")),
        ("https://aps-workspaces.cn-north-1.amazonaws.com.cn/workspaces/w", Workspace("w", "cn-north-1")),
        ("http://127.0.0.1:8005/workspaces/ws-1/api/v1/remote_write", Workspace("ws-1")),
        ("http://prometheus.monitoring:9090", None),
        ("https://mimir.example.com/api/v1/push", None),
    ],
)
def test_an_address_names_workspace_and_region(url: str, workspace: Workspace | None):
    assert workspace_of(url) == workspace


def test_what_is_needed_names_the_region_of_the_address_first():
    here, somewhere = Workspace("ws-1", "eu-west-1"), Workspace("ws-1")

    assert here.needs("aps:X", "me", "us-east-1") == "The role of me needs aps:X on workspace ws-1 in region eu-west-1."
    assert "in region us-east-1" in somewhere.needs("aps:X", "me", "us-east-1")
