"""The agent's IAM policy in docs/eks.md: enough for where its conversations are rendered to lie, and no more."""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

from genai_pipeline.k8s.agent import ACCOUNT, sessions_url
from tests.unit.k8s.everything import PROFILES

DOCUMENT = Path(__file__).parents[3] / "docs" / "eks.md"


def policies():
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.S)]


def statements():
    return {s["Sid"]: s for s in policies()[0]["Statement"]}


def test_it_reaches_the_conversations_of_every_model_and_no_weights_or_records():
    resource = statements()["Conversations"]["Resource"].replace("BUCKET", "genai")
    key = sessions_url("tiny", PROFILES["eks"]).removeprefix("s3://")

    assert fnmatchcase(f"arn:aws:s3:::{key}/0123/session.json", resource)
    assert not fnmatchcase("arn:aws:s3:::genai/models/tiny/manifest.json", resource)
    assert not fnmatchcase("arn:aws:s3:::genai/releases/tiny/live.json", resource)


def test_nothing_is_granted_by_a_wildcard():
    for statement in statements().values():
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        assert not [a for a in actions if "*" in a]
        assert "*" not in resources
    assert statements()["ListConversations"]["Condition"] == {"StringLike": {"s3:prefix": "sessions/*"}}


def test_the_association_is_made_for_the_account_that_pods_run_as():
    assert f"for account in genai-pipeline genai-engine {ACCOUNT} genai-exporter; do" in DOCUMENT.read_text()
    assert policies()[1]["Statement"][0]["Principal"] == {"Service": "pods.eks.amazonaws.com"}
