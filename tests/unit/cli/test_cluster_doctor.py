from dataclasses import replace

import pytest

from genai_pipeline.cli.cluster_doctor import agent_key_findings, cluster_findings, pods_store_findings
from genai_pipeline.cli.doctor import failures
from genai_pipeline.core.errors import AccessDenied, ClusterUnavailable, NotFound, StoreUnavailable
from genai_pipeline.gateways import Gateways
from tests.fakes.store import MemoryStore
from tests.fakes.world import PROFILE, FakeCluster, FakeHub

KUBERNETES = replace(PROFILE, name="kubernetes", s3_endpoint="http://minio.storage:9000", namespace="models")
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


class SilentStore(MemoryStore):
    def list(self, prefix):
        raise StoreUnavailable("S3 at http://minio.storage:9000 did not answer.", "Check AWS_ENDPOINT_URL.")


@pytest.fixture
def examine(tmp_path):
    (tmp_path / "m.yaml").write_text("name: m\nsource: {hub: owner/model}\n")
    hub = FakeHub()
    hub.publish("v1")

    def found(cluster=None, store=None, profile=KUBERNETES, env=KEYS):
        gateways = Gateways(hub, store or MemoryStore(), cluster or FakeCluster(), None, None, None)
        return cluster_findings(profile, env, tmp_path, gateways)

    return found


def refusing(error: Exception) -> FakeCluster:
    cluster = FakeCluster()

    def diff(objects):
        raise error

    cluster.diff = diff
    return cluster


def test_where_everything_answers_nothing_fails(examine):
    findings = examine()

    assert {f.level for f in findings} == {"ok"}
    assert any("namespace models" in f.what for f in findings)


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (ClusterUnavailable("There is no usable kubeconfig.", "Set KUBECONFIG."), "kubeconfig", "Set KUBECONFIG"),
        (NotFound("There is no namespace models.", "Apply it."), "no namespace models", "genai render --rbac"),
        (AccessDenied("We may not patch services.", "Ask for Role genai-pipeline."), "may not patch", "Role"),
    ],
)
def test_a_cluster_that_refuses_is_said_with_what_to_do(examine, error, what, remedy):
    (found,) = failures(examine(cluster=refusing(error)))

    assert what in found.what
    assert remedy in found.remedy


def test_a_store_that_does_not_answer_fails(examine):
    (found,) = failures(examine(store=SilentStore()))

    assert "did not answer" in found.what


def test_agents_with_keys_and_a_pipeline_without_one_are_told():
    keyed = replace(KUBERNETES, agent_keys_secret="callers")

    (found,) = agent_key_findings(keyed, {})
    assert (found.level, "Set AGENT_API_KEYS" in found.remedy) == ("warn", True)
    assert agent_key_findings(keyed, {"AGENT_API_KEYS": "k1"}) == []
    assert agent_key_findings(KUBERNETES, {}) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"])
def test_an_s3_on_this_machines_loopback_is_none_for_pods(address):
    here = replace(KUBERNETES, s3_endpoint=address)

    (found,) = failures(pods_store_findings(here, KEYS))
    assert "GENAI_PODS_S3_ENDPOINT" in found.remedy
    assert pods_store_findings(replace(here, s3_endpoint_for_pods="http://s3.models.svc:9000"), KEYS) == []


def test_engines_without_credentials_are_seen_before_they_fail():
    assert [f.level for f in pods_store_findings(KUBERNETES, {})] == ["warn"]
    assert pods_store_findings(replace(KUBERNETES, name="eks"), {}) == []
    assert pods_store_findings(replace(KUBERNETES, s3_endpoint=None), {}) == []
