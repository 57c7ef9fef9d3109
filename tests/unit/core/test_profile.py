from dataclasses import replace

import httpx
import pytest

from genai_pipeline.core.errors import AccessDenied, EngineUnavailable, WrongSetting
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import StoreKeys
from genai_pipeline.gateways.aws.ec2 import Ec2
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.gateways.cluster.local import LocalCluster
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics
from genai_pipeline.gateways.metrics.sigv4 import SigV4
from genai_pipeline.k8s.agent import sessions_url
from genai_pipeline.resources.real_gateways import gateways_for, labels_by_endpoint
from genai_pipeline.rollout.switch.candidates import Candidates
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import FakeCluster, World

AMP = "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-0123"


def load(name: str, **env: str) -> Profile:
    return Profile.load({"GENAI_PROFILE": name, **env})


def test_nothing_needs_to_be_set():
    profile = Profile.load({})

    assert (profile.name, profile.bucket, profile.namespace) == ("local", "genai", "genai")
    assert isinstance(gateways_for(profile).cluster, LocalCluster)


@pytest.mark.parametrize("name", ["kubernetes", "eks"])
def test_outside_the_local_profile_the_cluster_is_a_kubernetes(name):
    profile = load(name, GENAI_NAMESPACE="models", GENAI_CLUSTER_URL="http://127.0.0.1:1")

    cluster = gateways_for(profile).cluster

    assert isinstance(cluster, KubernetesCluster)
    assert cluster.namespace == "models"


def test_the_local_profile_ignores_the_kubeconfig_of_a_shell():
    assert isinstance(gateways_for(load("local", KUBECONFIG="/somewhere")).cluster, LocalCluster)


@pytest.mark.parametrize(
    ("name", "variable", "value", "allowed"),
    [
        ("minikube", "GENAI_PROFILE", "minikube", "'local', 'kubernetes' or 'eks'"),
        ("local", "GENAI_CLUSTER_ACCESS", "port-forward", "'proxy' or 'direct'"),
        ("local", "GENAI_PROBE_GPU", "yes", "'auto', 'buy' or 'never'"),
        ("local", "GENAI_MAX_ROLLOUTS", "0", "greater than 0"),
        ("local", "GENAI_MAX_ROLLOUTS", "two", "integer"),
        ("kubernetes", "GENAI_AGENT_KEYS_SECRET", "sk-Live_1", "lower case"),
        ("eks", "GENAI_AGENT_SESSIONS", "redis://cache", "s3://bucket/prefix"),
        ("local", "GENAI_CHAT", "slack", "'page' or 'open-webui'"),
        ("eks", "GENAI_CHAT", "open-webui", "GENAI_CHAT_SECRET"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_its_variable_and_what_is(name, variable, value, allowed):
    with pytest.raises(WrongSetting) as refused:
        load(name, **{variable: value})

    assert all(part in str(refused.value) for part in (f"{variable}={value!r}", allowed))


def test_pods_read_s3_where_the_pipeline_does_unless_a_setting_says_otherwise():
    outside = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}

    assert load("kubernetes", **outside).pods_s3_endpoint == "http://127.0.0.1:9000"
    inside = load("kubernetes", **outside, GENAI_PODS_S3_ENDPOINT="http://s3.genai.svc:9000")
    assert (inside.s3_endpoint, inside.pods_s3_endpoint) == ("http://127.0.0.1:9000", "http://s3.genai.svc:9000")
    assert load("eks").pods_s3_endpoint is None


def test_one_machine_has_no_second_name_for_s3():
    profile = load("local", GENAI_PODS_S3_ENDPOINT="http://s3.genai.svc:9000")

    assert profile.pods_s3_endpoint == profile.s3_endpoint


def test_reservations_and_quotas_are_asked_of_aws_on_eks_only():
    assert isinstance(gateways_for(load("eks")).aws, Ec2)
    assert gateways_for(load("kubernetes")).aws is None


def test_without_a_prometheus_the_engines_own_metrics_are_read():
    assert isinstance(gateways_for(load("eks")).metrics, EngineMetricsReader)


@pytest.mark.parametrize(
    ("name", "url", "signed"),
    [("eks", AMP, True), ("eks", "http://prometheus.monitoring:9090", False), ("kubernetes", AMP, False)],
)
def test_only_a_managed_prometheus_on_eks_is_asked_with_a_signature(name, url, signed):
    metrics = gateways_for(load(name, GENAI_PROMETHEUS_URL=url, AWS_REGION="eu-west-1")).metrics

    assert isinstance(metrics, PrometheusMetrics)
    assert isinstance(metrics._api.auth, SigV4) == signed


def test_a_request_is_signed_for_the_region_of_the_workspace_and_not_of_the_cluster():
    metrics = gateways_for(load("eks", GENAI_PROMETHEUS_URL=AMP, AWS_REGION="us-west-2")).metrics

    assert isinstance(metrics, PrometheusMetrics)
    assert metrics._api.auth.region == "eu-west-1"


@pytest.fixture
def no_credentials(monkeypatch, tmp_path):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def signed_by(auth: SigV4) -> httpx.Request:
    return next(auth.auth_flow(httpx.Request("POST", f"{AMP}/api/v1/query", data={"query": "up"})))


def test_the_signature_is_for_the_service_and_region_of_the_managed_prometheus(no_credentials):
    no_credentials.setenv("AWS_ACCESS_KEY_ID", "AKID")
    no_credentials.setenv("AWS_SECRET_ACCESS_KEY", "hidden")

    request = signed_by(SigV4("eu-west-1"))

    assert "/eu-west-1/aps/aws4_request" in request.headers["Authorization"]
    assert "hidden" not in str(request.headers)


def test_no_credentials_say_so_instead_of_an_unsigned_question(no_credentials):
    with pytest.raises(AccessDenied, match="No AWS credentials to ask Prometheus with"):
        signed_by(SigV4("eu-west-1"))


def test_credentials_that_cannot_be_had_now_are_no_traceback(no_credentials, tmp_path):
    role = "role_arn = arn:aws:iam::123456789012:role/x\nweb_identity_token_file = /nonexistent/token"
    (tmp_path / "config").write_text(f"[profile p]\n{role}\n")
    no_credentials.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    no_credentials.setenv("AWS_PROFILE", "p")
    with pytest.raises(EngineUnavailable, match=r"no AWS credentials now.*/nonexistent/token"):
        signed_by(SigV4("eu-west-1"))


def service(name: str) -> dict:
    labels = {"app.kubernetes.io/managed-by": "genai-pipeline"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels},
        "spec": {"selector": {}},
    }


def test_prometheus_is_asked_about_the_service_that_an_address_leads_to():
    cluster = FakeCluster()
    cluster.apply([service("weather"), service("weather-0123")])

    labels = labels_by_endpoint(cluster)(cluster.endpoint("weather-0123"))

    assert labels == {"namespace": cluster.namespace, "service": "weather-0123"}


def test_prometheus_is_not_asked_about_an_address_that_is_not_a_service():
    with pytest.raises(EngineUnavailable, match="not the address of a Service"):
        labels_by_endpoint(FakeCluster())("http://127.0.0.1:1")


@pytest.mark.parametrize(("name", "holds"), [("kubernetes", True), ("eks", False)])
def test_no_secret_holds_keys_where_pods_have_an_identity(name, holds):
    world, profile = World(), load(name, AWS_ENDPOINT_URL="https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com")
    spec = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "f")

    gateways = replace(world.gateways(), store_keys=StoreKeys("AKID", "hidden"))
    candidates = Candidates(gateways, profile, sleep=lambda _: None)
    candidates.start_engine(spec, Release.of(spec, "a" * 40), lambda _: None)

    assert (world.cluster.get("Secret", "store-access") is not None) is holds


def test_everything_in_the_bucket_is_encrypted_with_the_key_that_is_named():
    assert load("eks", GENAI_KMS_KEY="alias/models").kms_key == "alias/models"
    assert load("eks").kms_key is None


@pytest.mark.parametrize(("name", "replicas"), [("local", 1), ("kubernetes", 3), ("eks", 3)])
def test_agents_are_three_where_there_are_nodes_and_none_is_autoscaled_unasked(name, replicas):
    profile = load(name)

    assert (profile.agent_replicas, profile.agent_is_autoscaled) == (replicas, False)


def test_agents_are_autoscaled_between_the_fewest_and_the_most():
    profile = load("eks", GENAI_AGENT_REPLICAS="2", GENAI_AGENT_REPLICAS_MAX="5")

    assert (profile.agent_replicas, profile.agent_replicas_max, profile.agent_is_autoscaled) == (2, 5, True)


def test_a_most_below_the_fewest_is_refused():
    with pytest.raises(WrongSetting, match="GENAI_AGENT_REPLICAS_MAX=2 is below GENAI_AGENT_REPLICAS, which is 3"):
        load("eks", GENAI_AGENT_REPLICAS_MAX="2")


@pytest.mark.parametrize(
    ("said", "kept"),
    [("", "s3://genai/sessions/tiny"), ("s3://talks/all/", "s3://talks/all/tiny"), ("memory", "memory")],
)
def test_conversations_are_kept_in_the_bucket_unless_a_setting_says_otherwise(said, kept):
    assert sessions_url("tiny", load("eks", GENAI_AGENT_SESSIONS=said)) == kept


def test_callers_keys_are_a_secret_by_name_and_on_one_machine_the_environments():
    named = load("kubernetes", GENAI_AGENT_KEYS_SECRET="callers", AGENT_API_KEYS="k1")

    assert named.agent_keys_secret == "callers"
    assert load("kubernetes", AGENT_API_KEYS="k1").agent_keys_secret is None
    assert load("local", AGENT_API_KEYS="k1").agent_keys_secret == "agent-keys"
    assert load("local").agent_keys_secret is None
    assert "k1" not in repr(named)
