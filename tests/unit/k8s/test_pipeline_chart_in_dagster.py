"""What the chart charts/genai-pipeline configures, read by Dagster itself, and the question of its `helm test`."""

from __future__ import annotations

import runpy

import dagster as dg
import kubernetes
import kubernetes_validate
import pytest
import yaml
from dagster_postgres.utils import pg_url_from_config

from tests.unit.k8s import platform_policies, pod_policies  # noqa: F401, each adds its own to POLICIES
from tests.unit.k8s.chart import POD_POLICIES
from tests.unit.k8s.pipeline_chart import CHART, EVERYTHING, LEAST, TRYING, instance_config, of_pipeline, one
from tests.unit.k8s.policies import POLICIES


@pytest.fixture
def instance_of(tmp_path):
    """An instance with the chart's dagster.yaml, but with SQLite and no S3."""

    def make(values):
        left_out = {"storage", "local_artifact_storage", *(["compute_logs"] if values.get("computeLogs") else [])}
        kept = {name: part for name, part in instance_config(values).items() if name not in left_out}
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(kept))
        return dg.DagsterInstance.from_config(str(tmp_path))

    return make


@pytest.mark.parametrize("values", [LEAST, EVERYTHING], ids=["least", "everything"])
def test_dagster_takes_the_configuration(instance_of, values):
    with instance_of(values) as instance:
        assert instance.run_monitoring_enabled
        assert not instance.run_monitoring_max_resume_run_attempts
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
        assert not instance.telemetry_enabled


@pytest.mark.parametrize("values", [LEAST, EVERYTHING], ids=["least", "everything"])
def test_the_launcher_makes_a_job_of_it_that_kubernetes_takes(instance_of, monkeypatch, values):
    dagster_k8s = pytest.importorskip("dagster_k8s", reason="`make install` brings dagster-k8s")
    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)

    with instance_of(values) as instance:
        launcher = instance.run_launcher
        context = launcher.get_container_context_for_run(dg.DagsterRun(job_name="staging"))
        config = context.get_k8s_job_config(launcher.job_image, launcher)
        made = dagster_k8s.construct_dagster_k8s_job(
            config, ["dagster"], "run", context.run_k8s_config, component="run_worker"
        )
    job = kubernetes.client.ApiClient().sanitize_for_serialization(made)

    assert kubernetes_validate.validate(job, "1.35", strict=True) == "1.35"
    for name in POD_POLICIES:
        assert list(POLICIES[name]([job])) == []
    template = job["spec"]["template"]
    assert template["metadata"]["labels"]["app.kubernetes.io/component"] == "pipeline"
    assert job["metadata"]["labels"]["genai-pipeline/part"] == "run"
    (policy,) = [
        o for o in of_pipeline(values) if o["kind"] == "NetworkPolicy" and o["metadata"]["name"].endswith("-run")
    ]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert template["spec"]["serviceAccountName"] == "genai-pipeline"


@pytest.mark.parametrize(
    ("values", "url"),
    [
        (LEAST, "postgresql+psycopg2://dagster:p%40ss@pg.example.org:5432/dagster?sslmode=require"),
        (TRYING, "postgresql+psycopg2://dagster:p%40ss@dagster-genai-pipeline-database:5432/dagster?sslmode=disable"),
    ],
)
def test_the_storage_is_an_address_that_the_image_has_a_driver_for(values, url):
    storage = instance_config(values)["storage"]["postgres"]
    storage["postgres_db"]["password"] = "p@ss"

    assert pg_url_from_config(storage) == url


def test_the_workspace_names_the_service_of_the_code_server():
    objects = of_pipeline(LEAST)
    text = one(objects, "ConfigMap", "dagster-genai-pipeline")["data"]["workspace.yaml"]
    (server,) = yaml.safe_load(text)["load_from"]

    service = one(objects, "Service", server["grpc_server"]["host"])
    assert [port["port"] for port in service["spec"]["ports"]] == [server["grpc_server"]["port"]]


# -- helm test

LOADED = {"__typename": "RepositoryLocation"}
BROKEN = {"__typename": "PythonError", "message": "No module named x"}


@pytest.mark.parametrize(
    ("workspace", "says"),
    [
        ({"__typename": "Workspace", "locationEntries": [("a", "LOADED", LOADED)]}, ""),
        ({"__typename": "Workspace", "locationEntries": [("a", "LOADED", BROKEN)]}, "a: No module named x"),
        ({"__typename": "Workspace", "locationEntries": [("a", "LOADING", None)]}, "a: LOADING"),
        ({"__typename": "Workspace", "locationEntries": []}, "there is no code location"),
        ({"__typename": "PythonError", "message": "no workspace"}, "no workspace"),
        (None, "no answer: "),
    ],
)
def test_the_question_of_helm_test_ends_well_only_with_a_loaded_location(workspace, says):
    judge = runpy.run_path(str(CHART / "files" / "locations.py"))["judge"]
    if workspace and "locationEntries" in workspace:
        keys = ("name", "loadStatus", "locationOrLoadError")
        workspace["locationEntries"] = [dict(zip(keys, entry, strict=True)) for entry in workspace["locationEntries"]]

    told = judge(lambda: {"data": {"workspaceOrError": workspace}} if workspace else {"errors": []})

    assert told.startswith(says)
    assert bool(told) == bool(says)
