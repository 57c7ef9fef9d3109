from dataclasses import replace

import pytest

from genai_pipeline.cli.cluster_doctor import (
    agent_key_findings,
    cluster_findings,
    keda_findings,
    pods_store_findings,
    ray_findings,
)
from genai_pipeline.cli.doctor import failures
from genai_pipeline.cli.pools_doctor import gpu_findings
from genai_pipeline.core.errors import (
    AccessDenied,
    ClusterUnavailable,
    NotFound,
    Refused,
    StoreUnavailable,
    UnknownKind,
)
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.store.abc import Abilities
from genai_pipeline.k8s.render import render_engine, render_node_pools
from tests.fakes.model_texts import model_with_tools, with_tools
from tests.fakes.store import MemoryStore
from tests.fakes.world import EKS, PROFILE, FakeCluster, FakeHub

KUBERNETES = replace(PROFILE, name="kubernetes", s3_endpoint="http://minio.storage:9000", namespace="models")
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


class SilentStore(MemoryStore):
    def list(self, prefix):
        raise StoreUnavailable("S3 at http://minio.storage:9000 did not answer.", "Check AWS_ENDPOINT_URL.")


@pytest.fixture
def examine(tmp_path):
    (tmp_path / "m.yaml").write_text(with_tools("name: m\nsource: {hub: owner/model}\n"))
    hub = FakeHub()
    hub.publish("v1")

    def found(cluster=None, store=None, profile=KUBERNETES, env=KEYS):
        gateways = Gateways(hub, store or MemoryStore(), cluster or FakeCluster(), None, None, None)
        return cluster_findings(profile, env, tmp_path, gateways)

    return found


def refusing(error: Exception) -> FakeCluster:
    cluster = FakeCluster()

    def diff(objects, take_back=False):
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
        (UnknownKind("The cluster does not know leases.", "Install its operator."), "leases", "Install its operator"),
    ],
)
def test_a_cluster_that_refuses_is_said_with_what_to_do(examine, error, what, remedy):
    (found,) = failures(examine(cluster=refusing(error)))

    assert what in found.what
    assert remedy in found.remedy


def test_a_cluster_that_does_not_answer_is_asked_once(examine):
    class Silent(FakeCluster):
        asked = 0

        def knows(self, kind):
            self.asked += 1
            raise ClusterUnavailable("The cluster's API did not answer.", "Check that it runs.")

        def list(self, kind, labels=None):
            return self.knows(kind)

        diff = may = list

    silent = Silent()

    assert [f.what for f in failures(examine(cluster=silent))] == ["The cluster's API did not answer."]
    assert silent.asked == 1


def test_a_fault_that_several_questions_meet_is_reported_once(examine):
    class SilentToo(SilentStore):
        def abilities(self):
            return self.list("")

    error = StoreUnavailable("S3 at http://minio.storage:9000 did not answer.", "Check AWS_ENDPOINT_URL.")

    words = [f.what for f in examine(cluster=refusing(error), store=SilentToo())]

    assert words.count(error.what) == 1


def test_each_verb_of_the_role_that_is_missing_is_named(examine):
    cluster = FakeCluster()
    cluster.forbidden = {"get pods/log", "patch secrets store-access", "list nodes"}

    (found,) = failures(examine(cluster=cluster))

    assert all(each in found.what for each in cluster.forbidden)
    assert "genai render --rbac" in found.remedy


@pytest.mark.parametrize("kind", ["NodePool", "NodeClass"])
def test_eks_without_auto_mode_is_named_and_elsewhere_its_kinds_are_not_missed(examine, kind):
    cluster = FakeCluster()
    cluster.unknown_kinds = {kind}

    (found,) = failures(examine(cluster=cluster, profile=replace(KUBERNETES, name="eks")))

    assert f"does not know {kind}" in found.what
    assert "Auto Mode" in found.remedy
    assert failures(examine(cluster=cluster)) == []


def test_a_misspelt_requirement_of_a_pool_in_the_cluster_is_named(examine):
    cluster, eks = FakeCluster(), replace(KUBERNETES, name="eks")
    cluster.apply(render_node_pools(eks, []))
    assert failures(examine(cluster=cluster, profile=eks)) == []
    pool = cluster.objects["NodePool", "gpu"]["spec"]["template"]["spec"]
    pool["requirements"][0]["key"] = "eks.amazonaws.com/instance-familly"

    (found,) = failures(examine(cluster=cluster, profile=eks))

    assert "NodePool gpu: no node carries the label eks.amazonaws.com/instance-familly" in found.what
    assert found.remedy == "Did you mean `eks.amazonaws.com/instance-family`?"


GPU = "name: big\nsource: {hub: owner/model}\nserving: {gpu: {%s}}\n"


def with_nodes(*labelled):
    """A cluster whose nodes have one GPU each; `labelled`: their labels."""
    cluster = FakeCluster()
    for number, labels in enumerate(labelled):
        cluster.objects["Node", f"n{number}"] = {
            "metadata": {"name": f"n{number}", "labels": labels},
            "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110", "nvidia.com/gpu": "1"}},
        }
    return cluster


def gpu_findings_of(gpu, cluster, profile=KUBERNETES):
    return gpu_findings([model_with_tools(GPU % gpu, "f")], profile, cluster)


@pytest.mark.parametrize(
    ("gpu", "labelled", "says"),
    [
        ("count: 1", [], "there is no node for 1 nvidia.com/gpu: the cluster has no node"),
        ("count: 2", [{}], "2 nvidia.com/gpu, and the most is 1"),
        ("resource: amd.com/gpu", [{}], "1 amd.com/gpu, and the most is 0"),
        ("selector: {gpu: l4}", [{"gpu": "t4"}], "has gpu: l4: nodes have t4"),
    ],
)
def test_a_cluster_without_a_node_for_a_model_is_said_with_what_was_found(gpu, labelled, says):
    (found,) = failures(gpu_findings_of(gpu, with_nodes(*labelled)))

    assert says in found.what


def test_a_node_for_a_model_is_good_and_so_is_a_pool_that_may_bring_one():
    pool = {"kind": "NodePool", "metadata": {"name": "mine"}, "spec": {"template": {"spec": {}}}, "status": {"x": 1}}
    with_pool = with_nodes()
    with_pool.apply([pool])

    (node,) = gpu_findings_of("selector: {gpu: l4}", with_nodes({"gpu": "l4"}))
    (brought,) = gpu_findings_of("count: 1", with_pool)

    assert (node.level, node.what) == ("ok", "big: there is a node for 1 nvidia.com/gpu, gpu: l4")
    assert (brought.level, "NodePool mine may bring" in brought.what) == ("ok", True)


def test_a_family_of_eks_that_chooses_nothing_is_said_and_a_default_is_not():
    nodes = with_nodes({"gpu": "l4"})

    assert [f.level for f in gpu_findings_of("instance-family: p5", nodes)] == ["warn", "ok"]
    assert [f.level for f in gpu_findings_of("count: 1", nodes)] == ["ok"]
    assert [f.level for f in gpu_findings_of("instance-family: p5, selector: {gpu: l4}", nodes)] == ["ok"]
    assert gpu_findings_of("instance-family: p5", nodes, EKS) == []


def test_the_nodes_are_looked_at_for_the_models_of_the_folder(examine, tmp_path):
    (tmp_path / "big.yaml").write_text(with_tools(GPU % "count: 1"))

    assert any("big: there is no node" in f.what for f in failures(examine()))


def test_a_store_that_does_not_answer_fails(examine):
    (found,) = failures(examine(store=SilentStore()))

    assert "did not answer" in found.what


class LesserStore(MemoryStore):
    """Takes no copies, and is known to need less than Amazon's."""

    abilities = Abilities(crc64=False, many_deletes=False)

    def copy(self, source, target, etag=None):
        raise Refused("It makes no copies.", "Use another one.")


def test_what_a_bucket_lacks_is_a_warning_with_what_follows(examine):
    warned = [finding.what for finding in examine(store=LesserStore()) if finding.level == "warn"]

    assert len(warned) == 3
    assert "sent again" in warned[0]
    assert "MD5" in warned[1]


class StoreWithoutUploads(MemoryStore):
    def begin_upload(self, key):
        raise Refused("It cannot start an upload.", "Use an S3 that has multipart uploads.")


def test_a_bucket_without_uploads_fails(examine):
    (found,) = failures(examine(store=StoreWithoutUploads()))

    assert "upload" in found.what


def test_agents_with_keys_and_a_pipeline_without_one_are_reported():
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


RAY = model_with_tools("name: m\nsource: {hub: owner/model}\nserving: {engine: ray, image: 'ray:1'}\n")


def test_a_model_on_ray_needs_kuberay():
    unknown = refusing(UnknownKind("The cluster does not know rayservices.ray.io.", "Install the operator."))

    (found,) = failures(ray_findings([RAY], replace(KUBERNETES, ray_redis="r:6379"), unknown))

    assert "rayservices.ray.io" in found.what
    assert "KubeRay" in found.remedy


def test_a_head_without_a_redis_is_a_warning_and_a_model_without_ray_is_nothing():
    levels = {f.level: f.what for f in ray_findings([RAY], KUBERNETES, FakeCluster())}

    assert levels.keys() == {"ok", "warn"}
    assert "GENAI_RAY_REDIS" in levels["warn"]
    assert [f.level for f in ray_findings([RAY], replace(KUBERNETES, ray_redis="r:6379"), FakeCluster())] == ["ok"]
    assert not ray_findings([model_with_tools("name: m\nsource: {hub: owner/model}\n")], KUBERNETES, FakeCluster())


SCALED = model_with_tools("name: m\nsource: {hub: owner/model}\nserving: {replicas: {max: 3}}\n")
WATCHED = replace(KUBERNETES, prometheus_url="http://prometheus.monitoring.svc:9090")


def test_a_model_that_scales_needs_keda():
    unknown = refusing(UnknownKind("The cluster does not know scaledobjects.keda.sh.", "Install the operator."))

    (found,) = failures(keda_findings([SCALED], WATCHED, unknown))

    assert "scaledobjects.keda.sh" in found.what
    assert "Install KEDA" in found.remedy
    assert [f.level for f in keda_findings([SCALED], WATCHED, FakeCluster())] == ["ok"]
    assert not keda_findings([RAY, model_with_tools("name: m\nsource: {hub: o/m}\n")], WATCHED, unknown)


@pytest.mark.parametrize("address", [None, "http://localhost:9090"])
def test_a_model_that_scales_needs_a_prometheus_that_keda_reaches(address):
    (found,) = failures(keda_findings([SCALED], replace(WATCHED, prometheus_url=address), FakeCluster()))

    assert "GENAI_PROMETHEUS_URL" in found.remedy


def test_kedas_objects_need_the_rights_of_the_role():
    denied = refusing(AccessDenied("We may not patch scaledobjects.keda.sh.", "Ask for the Role."))

    (found,) = failures(keda_findings([SCALED], WATCHED, denied))

    assert "scaledobjects" in found.what


def test_the_doctor_looks_for_keda(examine, tmp_path):
    (tmp_path / "m.yaml").write_text(with_tools("name: m\nsource: {hub: owner/model}\nserving: {replicas: {max: 3}}\n"))

    assert any("no Prometheus" in f.what for f in failures(examine()))


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({}, "KEDA's operator has not looked at it"),
        ({"Ready": "True", "Fallback": "True"}, "its figures cannot be read"),
        ({"Ready": "True", "Paused": "True"}, "it is paused"),
        ({"Ready": "False"}, "Ready is False: because"),
        ({"Ready": "Unknown"}, "Ready is Unknown"),
        ({"Ready": "True", "HPAActive": "False"}, "HPAActive is False: because"),
        ({"Ready": "True", "Active": "False", "Fallback": "False", "Paused": "Unknown", "HPAActive": "True"}, ""),
        ({"Ready": "True"}, ""),
    ],
)
def test_a_release_that_runs_and_is_not_scaled_is_named_with_the_reason(conditions, said):
    cluster = FakeCluster()
    (scaled,) = [o for o in render_engine(SCALED, Release.of(SCALED, "0" * 40), WATCHED) if o["kind"] == "ScaledObject"]
    cluster.apply([scaled])
    made = [{"type": kind, "status": status, "message": "because"} for kind, status in conditions.items()]
    cluster.objects["ScaledObject", scaled["metadata"]["name"]]["status"] = {"conditions": made}

    found = [f for f in keda_findings([SCALED], WATCHED, cluster) if f.level == "warn"]

    assert [said in f.what and scaled["metadata"]["name"] in f.what for f in found] == [True] * bool(said)
