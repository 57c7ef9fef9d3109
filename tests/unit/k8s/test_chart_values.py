"""What a person writes into the values of charts/strands-agent: what comes of it, and how what is wrong is refused."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from genai_pipeline.agent.settings import VARIABLES, Settings, SettingsError
from genai_pipeline.agent.tools.mcp_spec import mcp_server_specs
from tests.unit.k8s.chart import CHART, EVERYTHING, by_kind, refusal, templated
from tests.unit.k8s.everything import Object

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
        ({"limits": {"maxConcurrent": 5000}}, "limits.maxConcurrent: Must be less than or equal to 1000"),
        ({"limits": {"maxToolCycles": 30}}, "limits.maxToolCycles: Must be less than or equal to 19"),
        ({"auth": None}, "auth is required"),
        ({"priorityClassName": "a: b"}, "priorityClassName: Does not match pattern"),
        ({"service": {"port": 70000}}, "service.port: Must be less than or equal to 65535"),
        ({"model": {"baseUrl": ""}}, "model.baseUrl is empty: the agent would have no model"),
        ({"model": {"baseUrl": "vllm:8000"}}, 'model.baseUrl is "vllm:8000", which is not an http.s. address'),
        ({"model": {"fallbacks": ["gpt-x"]}}, '"gpt-x" must be bedrock:<model> or openai:<model>@'),
        ({"model": {"provider": "bedrock"}}, "aws.region is empty. Set the region of Bedrock"),
        ({"weather": {"url": "wttr.in"}}, 'weather.url is "wttr.in"'),
        ({"weather": {"url": ""}}, "weather.url is empty"),
        ({"sessions": {"store": "file:/data"}}, "Use memory, or s3://bucket/prefix"),
        ({"sessions": {"store": "s3://bucket/x"}}, "aws.region is empty. Set the region of the bucket"),
        ({"autoscaling": {"enabled": True, "maxReplicas": 2}}, r"maxReplicas \(2\) is below replicaCount \(3\)"),
        ({"terminationGracePeriodSeconds": 5}, "requests under way would be cut off"),
        ({"image": {"tag": "latest"}}, "another image tomorrow"),
        ({"image": {"digest": "sha256:abc"}}, "64 hexadecimal digits"),
        ({"image": {"repository": "registry:5000/agent:1"}}, "move its tag to image.tag"),
        ({"fullnameOverride": "My_Agent"}, "Use lower case letters, digits and dashes"),
        ({"extraEnv": [{"name": "OPENAI_API_KEY", "value": "sk"}]}, "OPENAI_API_KEY looks like a credential"),
        ({"mcpServers": [{"name": "docs", "url": "http://m/mcp"}]}, "docs has no list of tools"),
        ({"mcpServers": [{"name": "docs", "tools": []}]}, "docs needs either a url or a command"),
        ({"otlp": {"endpoint": "collector:4318"}}, 'otlp.endpoint is "collector:4318"'),
        ({"autoscaling": {"targetCPU": "80%"}}, 'autoscaling.targetCPU is "80%", which is not a quantity'),
        ({"resources": {"limits": {"memory": "1 GB"}}}, 'resources.limits.memory is "1 GB", which is not a quantity'),
        ({"podDisruptionBudget": {"maxUnavailable": "half"}}, "Write a count, for example 1, or a percentage"),
        ({"image": {"repository": "Reg/Agent"}}, "not a valid name of an image. Use lower case"),
        ({"image": {"tag": "a b"}}, "not a valid name of an image"),
        ({"auth": {"existingSecret": {"name": "My_Keys"}}}, "not a valid name of a Secret"),
        ({"extraEnv": [{"name": "AGENT_PORT", "value": "9000"}]}, "the chart sets AGENT_PORT itself"),
        ({"extraEnv": [{"name": "A B", "value": "x"}]}, '"A B" is not a valid name of a variable'),
        ({"mcpServers": [{"name": "docs", "url": "http://m", "tools": []}]}, "docs has no list of tools"),
        ({"mcpServers": [{"name": "a b", "url": "http://m", "tools": ["x"]}]}, '"a b" is malformed'),
        ({"mcpServers": [{"name": "a", "url": "http://m", "tools": ["get_weather"]}]}, "the agent has it already"),
        (
            {"mcpServers": [{"name": "a", "url": "http://m", "tools": ["x"], "headers": {"X-Api-Key": "sk"}}]},
            "X-Api-Key looks like a credential",
        ),
        ({"model": {"fallbacks": ["openai:weather"]}}, '"openai:weather" would be asked twice'),
        ({"model": {"fallbacks": ["bedrock:a", "bedrock:a"]}}, '"bedrock:a" would be asked twice'),
        ({"model": {"fallbacksExistingSecret": {"name": "keys"}}}, "model.fallbacks is empty"),
        (
            {"model": {"provider": "bedrock", "fallbacks": ["openai:x"]}, "aws": {"region": "eu-west-1"}},
            '"openai:x" has no address',
        ),
        ({"sessions": {"store": "s3://bucket/a b"}, "aws": {"region": "eu-west-1"}}, "sessions.store is"),
        *((empty, "The values cannot be used|is required") for empty in (
            {"model": {"baseUrl": None}}, {"model": {"provider": None}}, {"weather": {"url": None}},
            {"sessions": {"store": None}}, {"image": {"repository": None}}, {"bindAddress": None},
            {"networkPolicy": {"from": None}}, {"service": {"port": None}},
        )),
        ({"model": {"baseUrl": "http://x:abc/v1"}}, "which is not an http.s. address"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_in_words(values, says):
    told = refusal(values)

    assert re.search(says, told), told


def test_what_the_chart_lets_through_the_agent_starts_with():
    most = {"AGENT_MAX_CONCURRENT": "1000", "AGENT_MAX_TOOL_CYCLES": "19"}
    limits = json.loads((CHART / "values.schema.json").read_text())["properties"]["limits"]["properties"]

    assert [str(limits[name]["maximum"]) for name in ("maxConcurrent", "maxToolCycles")] == list(most.values())
    assert Settings.load(most)
    for variable, value in most.items():
        with pytest.raises(SettingsError, match=variable):
            Settings.load({variable: str(int(value) + 1)})


def test_the_name_after_the_release_may_be_none_for_a_service():
    with pytest.raises(ValueError, match='"1a-strands-agent", which is not a valid name of a Service'):
        templated({}, name="1a")


def test_what_may_be_left_empty_is_not_refused():
    for values in ({"model": {"existingSecret": None}}, {"auth": {"existingSecret": None}}, {"image": {"tag": None}}):
        assert refusal(values) == ""


def test_a_tool_server_gets_its_secret_by_reference():
    server = {"name": "docs", "url": "http://m/mcp", "tools": ["x"], "headers": {"Authorization": "Bearer ${TOKEN}"}}
    told = env({"mcpServers": [server], "extraEnv": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {}}}]})

    as_the_kubelet_reads = told["AGENT_MCP_SERVERS"]["value"].replace("$$", "$")
    assert mcp_server_specs(as_the_kubelet_reads, {"TOKEN": "t"})[0].headers == {"Authorization": "Bearer t"}


def test_all_mistakes_are_reported_at_once():
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


def test_what_the_agent_gets_are_settings_that_it_has():
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
