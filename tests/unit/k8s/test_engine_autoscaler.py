"""What makes KEDA scale plain vLLM: by what, between what, and never without figures."""

import dataclasses
import re

import jsonschema
import pytest
from promql_parser import MatchOp

from genai_pipeline.core.errors import Refused
from genai_pipeline.gateways.cluster.pods import pod_groups
from genai_pipeline.k8s.engine_autoscaler import refuse_unscalable
from genai_pipeline.k8s.render import render_engine, render_monitoring, render_rbac
from genai_pipeline.k8s.templating import RELEASE_LABEL
from tests.fakes.promql import selectors
from tests.unit.k8s.everything import LARGE, PROFILES, SCALED, SMALL, release_of

EKS = dataclasses.replace(PROFILES["eks"], region="eu-north-1")
INSIDE = dataclasses.replace(PROFILES["kubernetes"], prometheus_url="http://prometheus.monitoring.svc:9090/")
WITHOUT = PROFILES["kubernetes"]
LOCAL = PROFILES["local"]
ALL = [EKS, INSIDE, LOCAL]


def rendered(spec=LARGE, profile=INSIDE):
    return {o["kind"]: o for o in render_engine(spec, release_of(spec), profile)}


def trigger(profile):
    return rendered(profile=profile)["ScaledObject"]["spec"]["triggers"][0]


def closed(**properties):
    return {"type": "object", "properties": properties, "additionalProperties": False}


COUNT = {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
WINDOW = closed(stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600})
BEHAVIOR = closed(scaleUp=WINDOW, scaleDown=WINDOW)
FALLBACKS = ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]
NAMED = closed(name={"type": "string"}, kind={"enum": ["TriggerAuthentication", "ClusterTriggerAuthentication"]})
SCALED_OBJECT = closed(
    scaleTargetRef=closed(apiVersion={"type": "string"}, kind={"type": "string"}, name={"type": "string"})
    | {"required": ["name"]},
    minReplicaCount=COUNT,
    maxReplicaCount=COUNT | {"minimum": 1},
    fallback=closed(failureThreshold=COUNT, replicas=COUNT, behavior={"enum": FALLBACKS})
    | {"required": ["failureThreshold", "replicas"]},
    advanced=closed(horizontalPodAutoscalerConfig=closed(behavior=BEHAVIOR)),
    triggers={
        "type": "array",
        "minItems": 1,
        "items": closed(
            type={"type": "string"},
            metricType={"enum": ["AverageValue", "Value", "Utilization"]},
            metadata=TEXTS,
            authenticationRef=NAMED,
        )
        | {"required": ["type", "metadata"]},
    },
) | {"required": ["scaleTargetRef", "triggers"]}
"""The part that is used, closed. Source: KEDA 2.17 and 2.20, config/crd/bases/keda.sh_scaledobjects.yaml."""
PROVIDERS = ["azure-workload", "gcp", "aws", "aws-eks", "none"]
AUTHENTICATION = closed(podIdentity=closed(provider={"enum": PROVIDERS}) | {"required": ["provider"]})
SCHEMAS = {"ScaledObject": SCALED_OBJECT, "TriggerAuthentication": AUTHENTICATION}
PROMETHEUS = {"serverAddress", "query", "threshold", "ignoreNullValues", "awsRegion"}
"""Of the scaler's metadata, which KEDA reads by name. Source: KEDA 2.20, pkg/scalers/prometheus_scaler.go."""


@pytest.mark.parametrize("profile", ALL, ids=lambda profile: profile.name)
def test_kedas_objects_fit_its_schema(profile):
    found = {kind: o for kind, o in rendered(profile=profile).items() if kind in SCHEMAS}

    for kind, each in found.items():
        assert each["apiVersion"] == "keda.sh/v1alpha1"
        jsonschema.validate(each["spec"], SCHEMAS[kind])
    assert found["ScaledObject"]["spec"]["triggers"][0]["metadata"].keys() <= PROMETHEUS


def test_it_scales_the_deployment_of_its_release_between_the_bounds_of_the_model_file():
    objects = rendered()
    spec = objects["ScaledObject"]["spec"]

    assert spec["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 4)
    assert trigger(INSIDE)["metadata"]["threshold"] == "20"
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert [behavior[way]["stabilizationWindowSeconds"] for way in ("scaleUp", "scaleDown")] == [30, 600]


def test_a_deployment_that_is_scaled_names_no_number_of_replicas():
    assert "replicas" not in rendered()["Deployment"]["spec"]
    assert rendered(SMALL)["Deployment"]["spec"]["replicas"] == 1
    assert "annotations" not in rendered(SMALL)["Deployment"]["metadata"]


def test_the_most_replicas_are_what_it_may_need():
    assert [group.replicas for group in pod_groups(rendered()["Deployment"])] == [4]


def test_absent_figures_never_scale():
    spec = rendered()["ScaledObject"]["spec"]

    assert trigger(INSIDE)["metadata"]["ignoreNullValues"] == "false"
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 1, "behavior": "currentReplicasIfHigher"}


def scraped(metric, release, value, model="large"):
    """A series as our PodMonitor labels it."""
    (relabelings,) = [
        o["spec"]["podMetricsEndpoints"][0]["relabelings"]
        for o in render_monitoring(INSIDE)
        if o["metadata"]["name"] == "genai-engine"
    ]
    pod = {"app_kubernetes_io_name": model, re.sub(r"\W", "_", RELEASE_LABEL): release}
    labels = {
        rule["targetLabel"]: rule.get("separator", ";").join(
            pod[source.removeprefix("__meta_kubernetes_pod_label_")] for source in rule["sourceLabels"]
        )
        for rule in relabelings
    }
    return metric, labels | {"namespace": INSIDE.namespace}, value


def summed(query, series):
    """What a sum over one selector adds up, or None where it selects nothing."""
    (selector,) = selectors(query)
    assert query == f"sum({selector})"

    def fits(labels):
        return all(
            re.fullmatch(m.value, labels.get(m.name, "")) if m.op == MatchOp.Re else labels.get(m.name, "") == m.value
            for m in selector.matchers.matchers
        )

    found = [value for name, labels, value in series if fits(labels | {"__name__": name})]
    return sum(found) if found else None


def test_running_and_waiting_requests_of_this_release_are_added_up():
    mine, other = release_of(LARGE).id, "b" * 12 + "-000000"
    query = trigger(INSIDE)["metadata"]["query"]
    series = [
        scraped("vllm:num_requests_running", mine, 3),
        scraped("vllm:num_requests_running", mine, 4),
        scraped("vllm:num_requests_waiting", mine, 5),
        scraped("vllm:num_requests_running", other, 100),
        scraped("vllm:num_requests_waiting_by_reason", mine, 100),
        scraped("vllm:kv_cache_usage_perc", mine, 100),
    ]

    assert summed(query, series) == 12
    assert summed(query, [scraped("vllm_num_requests_running", mine, 2)]) == 2
    assert summed(query, series[3:]) is None


def test_amazons_prometheus_is_asked_with_kedas_own_role():
    objects = rendered(profile=EKS)
    metadata = trigger(EKS)["metadata"]

    assert metadata["serverAddress"] == EKS.prometheus_url
    assert metadata["awsRegion"] == "us-east-1"  # the workspace's, wherever the cluster is
    assert trigger(EKS)["authenticationRef"]["name"] == objects["TriggerAuthentication"]["metadata"]["name"]
    assert objects["TriggerAuthentication"]["spec"] == {"podIdentity": {"provider": "aws"}}
    assert list(objects).index("TriggerAuthentication") < list(objects).index("ScaledObject")


@pytest.mark.parametrize("profile", [INSIDE, dataclasses.replace(EKS, prometheus_url="http://prometheus:9090")])
def test_any_other_prometheus_is_asked_without_a_signature(profile):
    assert "TriggerAuthentication" not in rendered(profile=profile)
    assert "awsRegion" not in trigger(profile)["metadata"]
    assert "authenticationRef" not in trigger(profile)
    assert not trigger(profile)["metadata"]["serverAddress"].endswith("/")


def test_on_one_machine_the_engines_own_figures_are_read_whatever_prometheus_there_is():
    with_one = dataclasses.replace(LOCAL, prometheus_url="http://127.0.0.1:8594")

    assert rendered(profile=with_one) == rendered(profile=LOCAL)
    assert release_of(LARGE).object_name in trigger(LOCAL)["metadata"]["serverAddress"]


@pytest.mark.parametrize(("spec", "profile"), [(SMALL, INSIDE), (SCALED, INSIDE), (LARGE, WITHOUT)])
def test_nothing_scales_a_fixed_number_an_engine_on_ray_or_what_nobody_measures(spec, profile):
    objects = rendered(spec, profile)

    assert not SCHEMAS.keys() & objects.keys()
    if "Deployment" in objects:
        assert objects["Deployment"]["spec"]["replicas"] == spec.serving.replicas.min


@pytest.mark.parametrize(
    ("address", "said"),
    [(None, "there is no Prometheus"), ("http://127.0.0.1:9090", "KEDA cannot reach"), ("http://[::1]:9", "KEDA")],
)
def test_without_a_prometheus_that_keda_reaches_it_is_refused_with_both_remedies(address, said):
    profile = dataclasses.replace(WITHOUT, prometheus_url=address)

    with pytest.raises(Refused, match=said) as error:
        refuse_unscalable(LARGE.serving, profile)

    assert "GENAI_PROMETHEUS_URL" in error.value.remedy
    assert "serving.replicas.max" in error.value.remedy


@pytest.mark.parametrize(("spec", "profile"), [(SMALL, WITHOUT), (SCALED, WITHOUT), (LARGE, LOCAL), (LARGE, EKS)])
def test_what_can_be_scaled_or_needs_not_is_not_refused(spec, profile):
    refuse_unscalable(spec.serving, profile)


def test_the_pipeline_may_do_what_it_does_to_kedas_objects():
    (rule,) = [
        rule for o in render_rbac(EKS) if o["kind"] == "Role" for rule in o["rules"] if rule["apiGroups"] == ["keda.sh"]
    ]

    assert set(rule["resources"]) == {"scaledobjects", "triggerauthentications"}
    assert set(rule["verbs"]) == {"get", "list", "watch", "create", "patch", "delete"}


def test_the_name_of_the_autoscaler_that_keda_makes_is_a_label_of_kubernetes():
    """KEDA refuses a longer one. Source: KEDA 2.20, apis/keda/v1alpha1/scaledobject_webhook.go, `verifyName`."""
    longest = LARGE.model_copy(update={"name": "m" * 30})

    assert len(f"keda-hpa-{rendered(longest)['ScaledObject']['metadata']['name']}") <= 63
