"""The chart charts/strands-agent: what it gives is what the pipeline applies."""

from __future__ import annotations

import copy
import dataclasses
import shutil

import kubernetes_validate
import pytest
import yaml

from genai_pipeline.core.model_spec import AgentSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.agent import agent_values
from genai_pipeline.k8s.render import package_version, render_agent, render_platform, service_url
from tests.unit.k8s import platform_policies, pod_policies  # noqa: F401, each adds its own to POLICIES
from tests.unit.k8s.chart import CHART, EVERYTHING, POD_POLICIES, lint, templated
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
    "keyed, own store keys": dataclasses.replace(
        PROFILES["kubernetes"], agent_keys_secret="callers", agent_store_secret="agent.store"
    ),
    "other bucket": dataclasses.replace(EKS, agent_sessions="s3://talks/all"),
    "s3 by name": dataclasses.replace(EKS, s3_endpoint_for_pods="https://minio.example.org", region="eu-west-1"),
}
THINKS = AgentSpec(max_tokens=4096)
BY_NAME = {"tiny": SMALL, LARGE.name: LARGE.model_copy(update={"agent": THINKS})}
RELEASES = {spec.name: [Release.of(spec, letter * 40) for letter in "ab"] for spec in (SMALL, LARGE)}


def applied(release: Release, profile: Profile) -> list[Object]:
    """What the pipeline applies for m/agent_candidate, and the platform's share of it."""
    shared = {("ServiceAccount", "genai-agent"), ("NetworkPolicy", "agent")}
    platform = [o for o in render_platform(profile) if (o["kind"], o["metadata"]["name"]) in shared]
    return [*platform, *render_agent(BY_NAME[release.model], release, profile, url(release, profile))]


def url(release: Release, profile: Profile) -> str:
    return service_url(release.object_name, "engine", profile)


def chart_of(release: Release, profile: Profile, chart=CHART) -> list[Object]:
    values = agent_values(BY_NAME[release.model], release, profile, url(release, profile))
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
        *POD_POLICIES,
        "images_name_a_version",
        "no_token_is_mounted",
        "every_probe_is_there",
        "no_probe_kills_what_still_loads",
        "requests_can_end",
        "nodes_hear_of_a_stop_first",
        "a_new_pod_comes_before_the_old_one_goes",
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
