"""The chart charts/strands-agent: what it gives is what the pipeline applies, and wrong values are refused in words."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shutil

import kubernetes_validate
import pytest
import yaml

from genai_pipeline.agent.settings import VARIABLES
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.agent import agent_values
from genai_pipeline.k8s.render import package_version, render_agent, render_platform, service_url
from tests.unit.k8s import platform_policies, pod_policies  # noqa: F401, each adds its own to POLICIES
from tests.unit.k8s.chart import CHART, by_kind, lint, refusal, templated
from tests.unit.k8s.everything import LARGE, PROFILES, SMALL, Object
from tests.unit.k8s.policies import POLICIES

EKS = dataclasses.replace(PROFILES["eks"], agent_replicas_max=None)
RUNS: dict[str, Profile] = {
    "local": PROFILES["local"],
    "kubernetes": dataclasses.replace(PROFILES["kubernetes"], agent_replicas=2, weather_url="http://10.0.0.7:8592"),
    "eks": EKS,
    "autoscaled": dataclasses.replace(EKS, agent_replicas_max=9, otlp_endpoint="http://otel.monitoring.svc:4318"),
    "own image": dataclasses.replace(
        EKS, agent_image=f"registry:5000/team/agent:2@sha256:{'a' * 64}", api_server_cidrs=(), weather_url="http://wttr"
    ),
    "pinned": dataclasses.replace(EKS, agent_image=f"registry:5000/agent@sha256:{'a' * 64}", namespace="models"),
    "in memory": dataclasses.replace(EKS, agent_sessions="memory"),
    "in memory, scaled": dataclasses.replace(EKS, agent_sessions="memory", agent_replicas=1, agent_replicas_max=3),
    "other bucket": dataclasses.replace(EKS, agent_sessions="s3://talks/all"),
    "s3 by name": dataclasses.replace(EKS, s3_endpoint_for_pods="https://minio.example.org", region="eu-west-1"),
}
RELEASES = {spec.name: [Release.of(spec, letter * 40) for letter in "ab"] for spec in (SMALL, LARGE)}
EVERYTHING = {
    "autoscaling": {"enabled": True},
    "model": {
        "existingSecret": {"name": "model"},
        "fallbacksExistingSecret": {"name": "fallbacks"},
        "fallbacks": ["bedrock:us.amazon.nova-pro-v1:0", "openai:x@http://m:1/v1"],
    },
    "sessions": {"store": "s3://bucket/sessions", "ttlSeconds": 3600, "maxBytes": 20_000_000},
    "aws": {"region": "eu-west-1", "existingSecret": "keys"},
    "auth": {"existingSecret": {"name": "callers"}},
    "limits": {
        "maxConcurrent": 64,
        "deadlineSeconds": 90,
        "maxToolCycles": 8,
        "maxRequestTokens": 2_000_000,
        "maxPromptChars": 8000,
    },
    "mcpServers": [{"name": "docs", "url": "http://mcp.tools.svc:9000/mcp", "tools": ["search"]}],
    "otlp": {"endpoint": "http://otel:4318", "exportPrompts": True},
    "extraEnv": [{"name": "LANG", "value": "C.UTF-8"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/agent"}},
    "serviceMonitor": {"enabled": True},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "networkPolicy": {"extraEgress": [{"ports": [{"protocol": "TCP", "port": 25}]}]},
}


def applied(release: Release, profile: Profile) -> list[Object]:
    """What the pipeline applies for m/agent_candidate, and the platform's share of it."""
    shared = {("ServiceAccount", "genai-agent"), ("NetworkPolicy", "agent")}
    platform = [o for o in render_platform(profile) if (o["kind"], o["metadata"]["name"]) in shared]
    return [*platform, *render_agent(release, profile, url(release, profile))]


def url(release: Release, profile: Profile) -> str:
    return service_url(release.object_name, "engine", profile)


def chart_of(release: Release, profile: Profile, chart=CHART) -> list[Object]:
    values = agent_values(release, profile, url(release, profile))
    return templated(values, namespace=profile.namespace, chart=chart)


def named(objects: list[Object]) -> dict[str, Object]:
    return {f"{o['kind']} {o['metadata']['name']}": o for o in objects}


# -- the chart and the pipeline


@pytest.mark.parametrize("run", RUNS)
def test_the_chart_gives_what_the_pipeline_applies_object_by_object(run):
    for release in (release for releases in RELEASES.values() for release in releases):
        assert named(chart_of(release, RUNS[run])) == named(applied(release, RUNS[run]))


def test_they_are_the_objects_that_one_expects():
    kinds = sorted(o["kind"] for o in applied(RELEASES["tiny"][0], RUNS["autoscaled"]))

    assert kinds == [
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    ]


@pytest.mark.parametrize(
    ("file", "was", "now"),
    [
        ("deployment.yaml", "periodSeconds: 5", "periodSeconds: 6"),
        ("_helpers.tpl", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
        ("_env.tpl", "AGENT_SESSIONS", "AGENT_SESSION"),
        ("service.yaml", "targetPort: http", "targetPort: 8080"),
        ("poddisruptionbudget.yaml", "AlwaysAllow", "IfHealthyBudget"),
        ("horizontalpodautoscaler.yaml", "stabilizationWindowSeconds: 300", "stabilizationWindowSeconds: 30"),
        ("networkpolicy.yaml", "port: 8080", "port: 8081"),
        ("_network.tpl", "169.254.170.23/32", "169.254.169.254/32"),
        ("serviceaccount.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true"),
    ],
)
def test_a_changed_field_of_any_template_is_noticed(tmp_path, file, was, now):
    shutil.copytree(CHART, tmp_path / "chart")
    template = tmp_path / "chart" / "templates" / file
    text = template.read_text()
    assert was in text
    template.write_text(text.replace(was, now))
    release = RELEASES["tiny"][0]

    assert named(chart_of(release, RUNS["autoscaled"], tmp_path / "chart")) != named(
        applied(release, RUNS["autoscaled"])
    )


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"])
def test_a_changed_field_of_the_pipelines_is_noticed_too(kind):
    release = RELEASES["tiny"][0]
    changed = copy.deepcopy(applied(release, EKS))
    next(o for o in changed if o["kind"] == kind)["spec"]["more"] = 1

    assert named(chart_of(release, EKS)) != named(changed)


def test_the_charts_version_is_the_packages():
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert about["version"] == about["appVersion"] == package_version()


# -- what Kubernetes says of it


@pytest.mark.parametrize("version", ["1.31", "1.34", "1.35"])
@pytest.mark.parametrize("values", [{}, EVERYTHING, {"replicaCount": 1}], ids=["defaults", "everything", "one"])
def test_every_object_fits_the_schema_of_kubernetes(values, version):
    objects = templated(values, "--with-tests", "--kube-version", f"{version}.0")
    built_in = [o for o in objects if o["kind"] != "ServiceMonitor"]

    assert len(built_in) >= 5
    for found in built_in:
        assert kubernetes_validate.validate(found, version, strict=True) == version


@pytest.mark.parametrize(
    "name",
    [
        "images_name_a_version",
        "memory_is_limited_and_asked_for",
        "what_is_written_is_bounded",
        "nothing_is_privileged",
        "every_capability_is_dropped",
        "nobody_is_root",
        "the_root_file_system_is_read_only",
        "system_calls_are_filtered",
        "no_token_is_mounted",
        "no_secret_stands_in_a_manifest",
        "every_probe_is_there",
        "no_probe_kills_what_still_loads",
        "requests_can_end",
        "nodes_hear_of_a_stop_first",
        "a_new_pod_comes_before_the_old_one_goes",
        "services_do_not_leak_into_environments",
        "every_selector_picks_a_pod",
        "every_port_has_its_name",
    ],
)
def test_the_chart_alone_keeps_the_policies_of_everything_that_is_rendered(name):
    for values in ({}, EVERYTHING):
        assert list(POLICIES[name](templated(values, "--with-tests"))) == []


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_lint_finds_nothing(values):
    done = lint(values)

    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


# -- what a person writes


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"replicas": 2}, "Additional property replicas is not allowed"),
        ({"model": {"baseURL": "http://x"}}, "model: Additional property baseURL is not allowed"),
        ({"replicaCount": "three"}, "replicaCount: Invalid type. Expected: integer, given: string"),
        ({"image": {"tag": 1.20}}, "image.tag: Invalid type. Expected: string"),
        ({"model": {"provider": "azure"}}, 'must be one of the following: "openai", "bedrock"'),
        ({"limits": {"maxConcurrent": 0}}, "limits.maxConcurrent: Must be greater than 0"),
        ({"service": {"port": 70000}}, "service.port: Must be less than or equal to 65535"),
        ({"model": {"baseUrl": ""}}, "model.baseUrl is empty: the agent would have no model"),
        ({"model": {"baseUrl": "vllm:8000"}}, 'model.baseUrl is "vllm:8000", which is no http.s. address'),
        ({"model": {"fallbacks": ["gpt-x"]}}, '"gpt-x" is neither bedrock:<model> nor openai:<model>@'),
        ({"model": {"provider": "bedrock"}}, "aws.region is empty: say in which region Bedrock is asked"),
        ({"weather": {"url": "wttr.in"}}, 'weather.url is "wttr.in"'),
        ({"weather": {"url": ""}}, "weather.url is empty"),
        ({"sessions": {"store": "file:/data"}}, "Use memory, or s3://bucket/prefix"),
        ({"sessions": {"store": "s3://bucket/x"}}, "aws.region is empty: say in which region the bucket"),
        ({"autoscaling": {"enabled": True, "maxReplicas": 2}}, r"maxReplicas \(2\) is below replicaCount \(3\)"),
        ({"terminationGracePeriodSeconds": 5}, "requests under way would be cut off"),
        ({"image": {"tag": "latest"}}, "another image tomorrow"),
        ({"image": {"digest": "sha256:abc"}}, "64 hexadecimal digits"),
        ({"image": {"repository": "registry:5000/agent:1"}}, "its tag belongs into image.tag"),
        ({"fullnameOverride": "My_Agent"}, "Use lower case letters, digits and dashes"),
        ({"extraEnv": [{"name": "OPENAI_API_KEY", "value": "sk"}]}, "OPENAI_API_KEY looks like a credential"),
        ({"mcpServers": [{"name": "docs", "url": "http://m/mcp"}]}, "docs has no list of tools"),
        ({"mcpServers": [{"name": "docs", "tools": []}]}, "docs needs either a url or a command"),
        ({"otlp": {"endpoint": "collector:4318"}}, 'otlp.endpoint is "collector:4318"'),
    ],
)
def test_wrong_values_are_refused_in_words(values, says):
    told = refusal(values)

    assert re.search(says, told), told


def test_all_mistakes_are_told_at_once():
    told = refusal({"weather": {"url": ""}, "image": {"tag": "latest"}, "sessions": {"store": "redis"}})

    assert told.count("\n- ") == 3


def test_every_default_has_its_place_in_the_schema_and_in_the_readme():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    readme = (CHART / "README.md").read_text()

    assert set(schema["properties"]) - {"global"} == set(values)
    for name, value in values.items():
        inner = schema["properties"][name].get("properties")
        if inner and isinstance(value, dict) and name != "resources":
            assert set(inner) == set(value), name
        assert f"`{name}" in readme, name


def env(values, *more) -> dict[str, Object]:
    pod = by_kind(templated(values, *more))["Deployment"]["spec"]["template"]["spec"]
    return {e["name"]: e for e in pod["containers"][0]["env"]}


def test_what_the_agent_is_told_are_settings_that_it_has():
    theirs = {"POD_IP", "HOME", "LANG", "AWS_REGION", "AWS_ENDPOINT_URL_S3", "AWS_EC2_METADATA_DISABLED"}
    theirs |= {"OTEL_EXPORTER_OTLP_ENDPOINT"}

    assert set(env(EVERYTHING)) - theirs <= set(VARIABLES.values())


def test_numbers_and_secrets_reach_the_agent_as_they_are():
    told = env(EVERYTHING)

    assert told["AGENT_MAX_REQUEST_TOKENS"]["value"] == "2000000"
    assert told["AGENT_SESSION_MAX_BYTES"]["value"] == "20000000"
    assert json.loads(told["AGENT_MCP_SERVERS"]["value"]) == EVERYTHING["mcpServers"]
    secrets = {"MODEL_API_KEY": "model", "MODEL_FALLBACK_API_KEYS": "fallbacks", "AGENT_API_KEYS": "callers"}
    for name, secret in secrets.items():
        assert told[name]["valueFrom"]["secretKeyRef"]["name"] == secret


def test_what_is_not_set_is_left_to_the_agent():
    assert not [name for name in env({}) if name.startswith(("AGENT_MAX", "AGENT_DEADLINE", "AGENT_MCP", "OTEL"))]


# -- what depends on the values


def test_an_autoscaler_and_a_number_of_replicas_never_meet():
    fixed, scaled = by_kind(templated({})), by_kind(templated({"autoscaling": {"enabled": True}}))

    assert fixed["Deployment"]["spec"]["replicas"] == 3
    assert "HorizontalPodAutoscaler" not in fixed
    assert "replicas" not in scaled["Deployment"]["spec"]
    assert scaled["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 3


def test_one_replica_has_no_budget_that_would_hold_its_node_up():
    assert "PodDisruptionBudget" not in by_kind(templated({"replicaCount": 1}))
    assert "PodDisruptionBudget" in by_kind(templated({}))


@pytest.mark.parametrize(
    ("enabled", "words", "there"),
    [
        ("auto", [], False),
        ("auto", ["--api-versions", "monitoring.coreos.com/v1/ServiceMonitor"], True),
        (True, [], True),
        (False, ["--api-versions", "monitoring.coreos.com/v1/ServiceMonitor"], False),
    ],
)
def test_a_service_monitor_comes_where_the_operator_is_or_where_it_is_asked_for(enabled, words, there):
    assert ("ServiceMonitor" in by_kind(templated({"serviceMonitor": {"enabled": enabled}}, *words))) is there


@pytest.mark.parametrize(
    ("store", "replicas", "affinity"), [("memory", 3, "ClientIP"), ("memory", 1, None), ("s3://bucket/x", 3, None)]
)
def test_sessions_in_memory_bind_a_caller_to_a_pod(store, replicas, affinity):
    values = {"sessions": {"store": store}, "replicaCount": replicas, "aws": {"region": "eu-west-1"}}

    assert by_kind(templated(values))["Service"]["spec"].get("sessionAffinity") == affinity


def egress(values) -> list[Object]:
    return by_kind(templated(values))["NetworkPolicy"]["spec"]["egress"]


def test_egress_is_open_to_nothing_but_what_the_agent_uses():
    plain, full = egress({}), egress(EVERYTHING)

    assert [rule["ports"][0]["port"] for rule in plain] == [53, 8000, 443]
    assert [rule["ports"][0]["port"] for rule in full] == [53, 8000, 1, 443, 443, 443, 4318, 9000, 80, 25]
    for rule in full[1:-1]:
        assert rule["to"]
    for peer in [peer for rule in full[1:-1] for peer in rule["to"]]:
        assert peer.get("ipBlock", {}).get("cidr") != "0.0.0.0/0" or peer["ipBlock"]["except"] == ["169.254.0.0/16"]


def test_the_test_asks_through_the_service_with_a_callers_key():
    (test,) = [o for o in templated(EVERYTHING, "--with-tests") if o["kind"] == "Pod"]
    told = {e["name"]: e for e in test["spec"]["containers"][0]["env"]}

    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert told["AGENT_URL"]["value"] == "http://agent-strands-agent.genai.svc:8080/agent"
    assert told["API_KEYS"]["valueFrom"]["secretKeyRef"]["name"] == "callers"
