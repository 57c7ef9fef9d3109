"""The chart charts/genai-pipeline: its objects, and the configuration that Dagster reads from them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

import genai_pipeline.local
from genai_pipeline.k8s.render import package_version
from tests.unit.k8s import platform_policies, pod_policies  # noqa: F401, each adds its own to POLICIES
from tests.unit.k8s.chart import HELM, POD_POLICIES
from tests.unit.k8s.everything import PROFILES, everything
from tests.unit.k8s.pipeline_chart import (
    CHART,
    EVERYTHING,
    LEAST,
    ROUTED,
    TRYING,
    instance_config,
    of_pipeline,
    one,
    refusal,
)
from tests.unit.k8s.policies import POLICIES

ALL = {"least": LEAST, "trying": TRYING, "everything": EVERYTHING, "routed": ROUTED}
NAME = "dagster-genai-pipeline"
ROUTE = f"{NAME}-route"
CONTAINERFILE = CHART.parents[1] / "images" / "pipeline" / "Containerfile"


def pod_of(values, name):
    return one(of_pipeline(values), "Deployment", name)["spec"]["template"]


# -- what Kubernetes says of it


@pytest.mark.parametrize("version", ["1.31", "1.35"])
@pytest.mark.parametrize("values", ALL.values(), ids=ALL)
def test_every_object_fits_the_schema_of_kubernetes(values, version):
    objects = of_pipeline(values, "--with-tests", "--kube-version", f"{version}.0")

    assert len(objects) >= 15
    for found in objects:
        assert kubernetes_validate.validate(found, version, strict=True) == version


@pytest.mark.parametrize(
    "name",
    [
        *POD_POLICIES,
        "images_name_a_version",
        "roles_are_narrow",
        "every_selector_picks_a_pod",
        "every_port_has_its_name",
    ],
)
@pytest.mark.parametrize("values", ALL.values(), ids=ALL)
def test_it_keeps_the_policies_of_everything_that_is_rendered(name, values):
    objects = [o for o in of_pipeline(values, "--with-tests") if not selects_runs(o)]

    assert list(POLICIES[name](objects)) == []


def selects_runs(found):
    """Pods of runs come later, from the launcher."""
    labels = found["spec"].get("podSelector", {}).get("matchLabels", {}) if "spec" in found else {}
    return found["kind"] == "NetworkPolicy" and labels.get("genai-pipeline/part") == "run"


@pytest.mark.parametrize("values", ALL.values(), ids=ALL)
def test_lint_finds_nothing(values):
    command = [HELM, "lint", "--strict", str(CHART), "--values", "-"]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_the_charts_version_is_the_packages():
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert about["version"] == about["appVersion"] == package_version()


def test_every_default_has_its_place_in_the_schema_and_in_the_readme():
    schema = json.loads((CHART / "values.schema.json").read_text())
    readme = (CHART / "README.md").read_text()

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
    for name, value in values.items():
        assert f"`{name}" in readme, name
        if inner := schema["properties"][name].get("properties"):
            assert set(inner) == set(value), name


# -- who runs as whom


def test_the_code_server_is_the_pipeline_and_the_launchers_are_not():
    code, daemon = (pod_of(LEAST, f"{NAME}-{part}") for part in ("code", "daemon"))

    assert code["metadata"]["labels"]["app.kubernetes.io/component"] == "pipeline"
    assert code["spec"]["serviceAccountName"] == "genai-pipeline"
    assert "app.kubernetes.io/component" not in daemon["metadata"]["labels"]
    assert (
        daemon["spec"]["serviceAccountName"] == pod_of(LEAST, NAME)["spec"]["serviceAccountName"] == f"{NAME}-dagster"
    )


def test_the_launchers_may_do_what_dagsters_launcher_asks_for_and_no_more():
    """Read in dagster_k8s/client.py, whose `delete_job` deletes the pods too."""
    rules = one(of_pipeline(LEAST), "Role", f"{NAME}-launcher")["rules"]

    assert {rule["resources"][0]: set(rule["verbs"]) for rule in rules} == {
        "jobs": {"create", "delete", "get", "list", "patch", "watch"},
        "jobs/status": {"get"},
        "pods": {"delete", "get", "list", "watch"},
        "pods/log": {"get"},
        "events": {"list"},
    }


def test_there_is_never_a_second_daemon():
    spec = one(of_pipeline(EVERYTHING), "Deployment", f"{NAME}-daemon")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_a_changed_configuration_starts_every_part_again():
    changed = {**LEAST, "runs": {"maxConcurrent": 9}}

    for name in (NAME, f"{NAME}-code", f"{NAME}-daemon"):
        was, now = (pod_of(values, name)["metadata"]["annotations"] for values in (LEAST, changed))
        assert was["checksum/config"] != now["checksum/config"]


def test_only_webserver_and_daemon_reach_the_code_server():
    spec = one(of_pipeline(LEAST), "NetworkPolicy", f"{NAME}-code")["spec"]

    (rule,) = spec["ingress"]
    parts = {peer["podSelector"]["matchLabels"]["genai-pipeline/part"] for peer in rule["from"]}
    assert parts == {"webserver", "daemon"}
    assert rule["ports"] == [{"protocol": "TCP", "port": 4000}]


def test_the_webserver_is_open_to_labelled_namespaces_only():
    (rule,) = one(of_pipeline(LEAST), "NetworkPolicy", f"{NAME}-webserver")["spec"]["ingress"]

    assert rule["from"][0] == {"namespaceSelector": {"matchLabels": {"genai-pipeline/operator": "true"}}}
    assert len(rule["from"]) == 2  # and the pod of `helm test`


def test_one_webserver_has_no_budget_that_would_hold_its_node_up():
    assert not [o for o in of_pipeline(LEAST) if o["kind"] == "PodDisruptionBudget"]
    assert [o for o in of_pipeline(EVERYTHING) if o["kind"] == "PodDisruptionBudget"]


# -- what Dagster reads


def test_the_queue_is_that_of_one_machine():
    local = yaml.safe_load((Path(genai_pipeline.local.__file__).parent / "dagster.yaml").read_text())
    chart = instance_config(LEAST)

    assert chart["concurrency"] == local["concurrency"]
    assert chart["retention"] == local["retention"]
    assert chart["run_coordinator"]["class"] == local["run_coordinator"]["class"]
    assert chart["telemetry"] == chart["nux"] == {"enabled": False}
    assert instance_config(EVERYTHING)["concurrency"]["runs"]["tag_concurrency_limits"][0]["limit"] == 3


def test_runs_are_watched_and_not_resumed():
    watched = instance_config(LEAST)["run_monitoring"]

    assert watched["enabled"] is True
    assert watched["max_resume_run_attempts"] == 0
    assert {"start_timeout_seconds", "cancel_timeout_seconds"} <= watched.keys()


def test_a_run_is_a_pod_as_the_pipeline_needs_it():
    config = instance_config(EVERYTHING)["run_launcher"]["config"]
    run = config["run_k8s_config"]

    assert config["service_account_name"] == "genai-pipeline"
    assert config["env_secrets"] == ["store", "hub"]
    assert run["pod_template_spec_metadata"]["labels"]["app.kubernetes.io/component"] == "pipeline"
    assert run["pod_spec_config"]["automount_service_account_token"] is True
    assert run["job_spec_config"]["backoff_limit"] == 0
    code = pod_of(EVERYTHING, f"{NAME}-code")["spec"]
    assert run["pod_spec_config"]["security_context"] == code["securityContext"]
    assert run["container_config"]["security_context"] == code["containers"][0]["securityContext"]
    told = {e["name"]: e for e in run["container_config"]["env"]}
    assert told == {e["name"]: e for e in code["containers"][0]["env"] if e["name"] != "DAGSTER_HOME"}
    assert told["GENAI_MAX_ROLLOUTS"]["value"] == "3"
    assert "GENAI_KMS_KEY" not in told


def test_model_files_of_the_values_are_where_code_server_and_runs_read_them():
    objects = of_pipeline(EVERYTHING)
    files = one(objects, "ConfigMap", f"{NAME}-models")
    code = one(objects, "Deployment", f"{NAME}-code")["spec"]["template"]["spec"]
    run = instance_config(EVERYTHING)["run_launcher"]["config"]["run_k8s_config"]
    volumes = {v["name"]: v for v in code["volumes"]}
    (mounted,) = [m for m in code["containers"][0]["volumeMounts"] if m["name"] == "models"]

    assert files["data"] == EVERYTHING["modelFiles"]
    assert volumes["models"]["projected"]["sources"][0]["configMap"]["name"] == files["metadata"]["name"]
    assert f"GENAI_MODELS={mounted['mountPath']}" in CONTAINERFILE.read_text()
    assert volumes["models"] in run["pod_spec_config"]["volumes"]
    assert mounted in run["container_config"]["volume_mounts"]


def test_a_changed_model_file_starts_the_code_server_again():
    changed = {**EVERYTHING, "modelFiles": {"weather.yaml": "name: weather2\n"}}

    assert pod_of(changed, f"{NAME}-code")["metadata"] != pod_of(EVERYTHING, f"{NAME}-code")["metadata"]


def test_the_password_comes_from_its_secret_alone():
    storage = instance_config(LEAST)["storage"]["postgres"]["postgres_db"]
    (variable,) = [
        e for e in pod_of(LEAST, NAME)["spec"]["containers"][0]["env"] if e["name"] == storage["password"]["env"]
    ]

    assert storage["scheme"] == "postgresql+psycopg2"
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "dagster-postgresql", "key": "password"}}


# -- the address of models for callers outside the cluster


def test_engines_let_the_route_in_and_it_reaches_nothing_else():
    objects = of_pipeline(ROUTED)
    labels = one(objects, "Deployment", ROUTE)["spec"]["template"]["metadata"]["labels"]
    policies = {
        o["metadata"]["name"]: o["spec"] for o in everything(PROFILES["kubernetes"]) if o["kind"] == "NetworkPolicy"
    }
    (rule,) = [r for r in policies["engine"]["ingress"] if r["ports"] == [{"protocol": "TCP", "port": 8000}]]
    (callers,) = [p["podSelector"]["matchExpressions"][0] for p in rule["from"] if "podSelector" in p]

    assert labels[callers["key"]] in callers["values"]
    dns, engines = one(objects, "NetworkPolicy", ROUTE)["spec"]["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert engines["to"] == [{"podSelector": policies["engine"]["podSelector"]}]


def test_keys_come_from_their_secret_alone():
    pod = one(of_pipeline(ROUTED), "Deployment", ROUTE)["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]

    assert volume["projected"]["sources"][1]["secret"] == {
        "name": "model-keys",
        "items": [{"key": "keys", "path": "keys"}],
    }
    assert not pod["automountServiceAccountToken"]


def test_a_gateway_gets_a_route_with_the_time_that_a_generation_takes():
    gateway = {"parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}]}
    values = {**ROUTED, "route": {**ROUTED["route"], "ingress": {}, "gateway": gateway}}
    objects = of_pipeline(values)
    spec = one(objects, "HTTPRoute", ROUTE)["spec"]
    (rule,) = spec["rules"]
    (backend,) = rule["backendRefs"]

    assert (spec["hostnames"], spec["parentRefs"]) == (["models.example.org"], gateway["parentRefs"])
    assert one(objects, "Service", backend["name"])["spec"]["ports"][0]["port"] == backend["port"]
    assert rule["timeouts"]["request"] == "600s"
    assert "Ingress" not in {o["kind"] for o in objects}


# -- what a person writes


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"replicas": 2}, "Additional property replicas is not allowed"),
        ({"daemon": {"replicas": 2}}, "daemon: Additional property replicas is not allowed"),
        ({"webserver": {"replicas": 0}}, "webserver.replicas: Must be greater than or equal to 1"),
        ({"runs": {"maxConcurrent": "four"}}, "runs.maxConcurrent: Invalid type. Expected: integer, given: string"),
        ({"settings": {"genai_profile": "eks"}}, "settings: .*genai_profile"),
        ({"settings": {"GENAI_API_SERVER_CIDRS": ["10.0.0.0/8"]}}, "GENAI_API_SERVER_CIDRS: Invalid type"),
        ({"settings": {"HF_TOKEN": "x"}}, "HF_TOKEN looks like a credential.*existingSecrets"),
        ({"settings": {"AWS_SECRET_ACCESS_KEY": "x"}}, "AWS_SECRET_ACCESS_KEY looks like a credential"),
        ({"settings": {"GENAI_ALERT_WEBHOOK": "http://x"}}, "GENAI_ALERT_WEBHOOK looks like a credential"),
        ({"settings": {"GENAI_WEBHOOK_URL": "http://x"}}, "GENAI_WEBHOOK_URL looks like a credential"),
        ({"settings": {"WEATHER_URL": "http://a:b@weather"}}, "WEATHER_URL looks like a credential"),
        ({"settings": {"GENAI_NAMESPACE": "x"}}, "the chart sets GENAI_NAMESPACE itself"),
        ({"settings": {"GENAI_PROFILE": "local"}}, "runs models on one machine. Use kubernetes, or eks"),
        ({"settings": {"GENAI_MAX_ROLLOUTS": "two"}}, 'GENAI_MAX_ROLLOUTS is "two"'),
        ({"postgresql": {"host": "", "existingSecret": {"name": "pg"}}}, "Dagster would have no database"),
        ({"postgresql": {"host": "pg", "existingSecret": {"name": ""}}}, "the chart makes no Secret. Make one"),
        ({"postgresql": {"host": "pg", "forTrying": True}}, 'and postgresql.host names "pg". Remove one'),
        ({"postgresql": {"host": "postgresql://u:secret@pg/db"}}, "Write the name of the host alone"),
        ({"existingSecrets": ["My_Keys"]}, "not a valid name. Use lower case"),
        ({"serviceAccount": {"name": "genai-pipeline"}}, "Set serviceAccount.name to another name"),
        ({"ingress": {"enabled": True}}, "ingress.host is empty"),
        ({"modelFiles": {"suites/a.yaml": "x"}}, "modelFiles"),
        ({"route": {"enabled": True, "keys": {"existingSecret": "keys"}}}, "route.models is empty"),
        ({"route": {"enabled": True, "models": ["weather"]}}, "without keys every caller could ask the models"),
        ({"route": {**ROUTED["route"], "host": ""}}, "route.host is empty"),
        (
            {"route": {**ROUTED["route"], "ingress": {"enabled": True}}},
            "API keys would cross the network as plain text",
        ),
        ({"route": {**ROUTED["route"], "models": ["w } http"]}}, "route.models.0: Does not match pattern"),
        ({"route": {"gateway": {"parentRefs": [{"name": "public"}]}}}, "route.enabled is false"),
        ({"computeLogs": {"endpointUrl": "minio:9000"}}, "not an address of S3"),
        ({"fullnameOverride": "My_Dagster"}, "at most 52 lower case letters"),
        ({"image": {"tag": "latest"}}, "another image tomorrow"),
        ({"image": {"digest": "sha256:abc"}}, "64 hexadecimal digits"),
        ({"image": {"repository": "registry:5000/pipeline:1"}}, "move its tag to image.tag"),
        ({"runs": {"tmpSize": "4 GB"}}, 'runs.tmpSize is "4 GB", which is not a quantity'),
        ({"daemon": {"resources": {"limits": {"memory": "1 GB"}}}}, "daemon.resources.limits.memory is"),
    ],
)
def test_wrong_values_are_refused_in_words(values, says):
    told = refusal({**LEAST, **values})

    assert re.search(says, told), told
    assert "u:secret" not in told


def test_names_of_secrets_are_no_secrets():
    assert refusal({**LEAST, "settings": {"GENAI_AGENT_STORE_SECRET": "agent-store"}}) == ""
