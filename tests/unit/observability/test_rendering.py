"""What `genai render --observability` writes."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
import yaml

from genai_pipeline.cli.manifests import rule_file, watched, write_objects
from genai_pipeline.core.profile import LOCAL_PORTS, Profile
from genai_pipeline.observability.dashboard_files import dashboard_files
from genai_pipeline.observability.observability_objects import observability_objects
from genai_pipeline.observability.rule_groups import all_groups
from tests.fakes.model_texts import model_with_tools
from tests.unit.k8s import pod_policies  # noqa: F401 - it fills the list
from tests.unit.k8s.everything import everything
from tests.unit.k8s.policies import POLICIES

SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "tiny.yaml")
PROFILES = {
    "eks": Profile.of({"name": "eks", "bucket": "models", "image_registry": "registry.example.com/"}),
    "kubernetes": Profile.of({"name": "kubernetes", "s3_endpoint": "https://minio.example.com:9000"}),
}
CUSTOM = ("PodMonitor", "PrometheusRule")
each_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def of_kind(kind: str, profile: Profile) -> list[dict[str, Any]]:
    return [o for o in observability_objects([SPEC], profile) if o["kind"] == kind]


def exporter(profile: Profile) -> dict[str, Any]:
    (deployment,) = of_kind("Deployment", profile)
    return deployment["spec"]["template"]


@each_profile
@pytest.mark.parametrize("version", ["1.31", "1.35"])
def test_every_built_in_object_fits_the_schema(profile: Profile, version: str):
    for rendered in observability_objects([SPEC], profile):
        if rendered["kind"] not in CUSTOM:
            assert kubernetes_validate.validate(rendered, version, strict=True) == version


@each_profile
@pytest.mark.parametrize("name", [name for name, function in POLICIES.items() if "pod_policies" in function.__module__])
def test_the_exporter_keeps_the_policies_of_all_pods(name: str, profile: Profile):
    before = set(POLICIES[name](everything(profile)))

    assert set(POLICIES[name]([*everything(profile), *observability_objects([SPEC], profile)])) == before


def test_each_dashboard_is_a_config_map_that_grafanas_sidecar_finds():
    maps = of_kind("ConfigMap", PROFILES["eks"])

    assert {name for o in maps for name in o["data"]} == {file.name for file in dashboard_files()}
    assert {o["metadata"]["labels"]["grafana_dashboard"] for o in maps} == {"1"}
    assert all(json.loads(text)["panels"] for o in maps for text in o["data"].values())
    assert all(len(text.encode()) < 1024 * 1024 for o in maps for text in o["data"].values())


def test_every_monitor_and_rule_has_the_label_that_the_operator_selects():
    found = [o for kind in CUSTOM for o in of_kind(kind, PROFILES["eks"])]

    assert len(found) == 6
    assert {o["metadata"]["labels"]["release"] for o in found} == {"kube-prometheus-stack"}


@each_profile
def test_the_monitor_selects_the_exporter_and_names_its_port(profile: Profile):
    (monitor,) = [o for o in of_kind("PodMonitor", profile) if o["metadata"]["name"] == "genai-exporter"]
    template = exporter(profile)
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]

    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert {"name": endpoint["port"], "containerPort": LOCAL_PORTS["exporter"]} in container["ports"]


@each_profile
def test_the_exporter_reads_the_bucket_of_the_profile(profile: Profile):
    (container,) = exporter(profile)["spec"]["containers"]
    given = Profile.load({e["name"]: e["value"] for e in container["env"] if "value" in e})

    assert (given.name, given.bucket, given.region) == (profile.name, profile.bucket, profile.region)
    assert given.s3_endpoint == profile.pods_s3_endpoint


def test_prometheus_may_reach_the_exporter_and_the_exporter_the_store():
    (policy,) = of_kind("NetworkPolicy", PROFILES["kubernetes"])
    labels = exporter(PROFILES["kubernetes"])["metadata"]["labels"]

    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": LOCAL_PORTS["exporter"]}]
    assert 9000 in [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]


def test_the_file_of_rules_has_the_groups_of_the_objects():
    assert yaml.safe_load(rule_file([SPEC], PROFILES["eks"])) == {"groups": all_groups([SPEC], PROFILES["eks"])}


def test_rendering_into_a_folder_lists_every_object(tmp_path: Any):
    files = write_objects(watched([SPEC], PROFILES["eks"]), tmp_path)

    listed = yaml.safe_load((tmp_path / "kustomization.yaml").read_text())["resources"]
    assert len(listed) == len(files) - 1 == len(observability_objects([SPEC], PROFILES["eks"]))
