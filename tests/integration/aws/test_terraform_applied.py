"""Applies the part of deploy/terraform that an emulated AWS knows: bucket, repositories, roles, workspace, network.

moto has no access entries, no Pod Identity and no capacity reservations. Those are only planned: test_terraform.py.
"""

from __future__ import annotations

import re
from importlib.util import find_spec

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError

from genai_pipeline.cli.manifests import rule_file
from tests.integration.aws.terraform import PROGRAM, WITHOUT_PROVIDER, Terraform, mirror
from tests.unit.k8s.everything import PROFILES, SMALL

MIRROR = mirror()
SERVER = all(find_spec(name) for name in ("flask", "flask_cors"))
REGION, KEYS = "eu-west-1", {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
ROOT = f"""
provider "aws" {{
  region                      = "{REGION}"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}}
module "genai" {{
  source         = "./module"
  administrators = ["arn:aws:iam::123456789012:role/platform"]
  rules_file     = "rules.yaml"
  bucket         = "genai-models"
  database       = {{}}
}}
"""
PARTS = (
    "aws_db_instance.dagster",
    "aws_s3_bucket.models",
    "aws_s3_bucket_lifecycle_configuration.models",
    "aws_s3_bucket_policy.models",
    "aws_s3_bucket_public_access_block.models",
    "aws_s3_bucket_server_side_encryption_configuration.models",
    "aws_s3_bucket_versioning.models",
    "aws_ecr_repository.image",
    "aws_iam_role_policy.pod",
    "aws_prometheus_rule_group_namespace.genai",
    "aws_route_table_association.private",
    "aws_vpc_endpoint.s3",
)

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not (PROGRAM and MIRROR), reason=WITHOUT_PROVIDER),
    pytest.mark.skipif(not SERVER, reason="needs moto's server: `uv pip install flask flask-cors`"),
]


@pytest.fixture(scope="module")
def emulated():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def root(tmp_path_factory, emulated):
    folder = tmp_path_factory.mktemp("applied")
    copied = Terraform.copy_to(folder, MIRROR)
    (folder / "main.tf").write_text(ROOT)
    (folder / "rules.yaml").write_text(rule_file([SMALL], PROFILES["eks"]))
    made = Terraform(
        folder, copied.providers, {"AWS_ENDPOINT_URL": emulated, **{k.upper(): v for k, v in KEYS.items()}}
    )
    assert made.run("init", "-input=false").returncode == 0
    done = made.run("apply", "-auto-approve", "-input=false", "-no-color", *targets())
    assert done.returncode == 0, done.stderr
    return made


def targets() -> list[str]:
    return [f"-target=module.genai.{part}" for part in PARTS]


@pytest.fixture
def client(root, emulated):
    return lambda service: boto3.client(service, endpoint_url=emulated, region_name=REGION, **KEYS)


def test_a_second_plan_changes_nothing(root):
    assert root.run("plan", "-detailed-exitcode", "-input=false", *targets()).returncode == 0


def test_the_bucket_is_closed_and_keeps_versions(client):
    s3 = client("s3")

    assert s3.get_bucket_versioning(Bucket="genai-models")["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket="genai-models")["PublicAccessBlockConfiguration"].values()) == {True}
    rules = {r["ID"]: r for r in s3.get_bucket_lifecycle_configuration(Bucket="genai-models")["Rules"]}
    assert rules["uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rules["sessions"]["Filter"] == {"Prefix": "sessions/"}


def test_a_request_without_tls_is_refused(client):
    with pytest.raises(ClientError, match="403"):  # the emulated AWS has no TLS, and obeys the policy
        client("s3").put_object(Bucket="genai-models", Key="k", Body=b"")


def test_the_workspace_evaluates_the_rules_of_the_models(client):
    amp = client("amp")
    (workspace,) = amp.list_workspaces()["workspaces"]
    namespace = amp.describe_rule_groups_namespace(name="genai", workspaceId=workspace["workspaceId"])

    written = yaml.safe_load(namespace["ruleGroupsNamespace"]["data"])

    assert written == yaml.safe_load(rule_file([SMALL], PROFILES["eks"]))


def test_no_state_has_the_password_of_the_database(root, client):
    (database,) = client("rds").describe_db_instances()["DBInstances"]
    state = root.run("state", "pull").stdout

    assert database["MasterUserSecret"]["SecretArn"] in state
    assert not re.search(r'"password(_wo)?": "[^"]', state)


def test_roles_are_for_this_cluster_only(client):
    iam = client("iam")
    trust = iam.get_role(RoleName="genai-agent")["Role"]["AssumeRolePolicyDocument"]["Statement"][0]

    assert trust["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(":cluster/genai")


def test_a_bucket_with_a_model_is_not_deleted(root, client):
    client("s3").delete_bucket_policy(Bucket="genai-models")  # it refuses requests without TLS
    client("s3").put_object(Bucket="genai-models", Key="models/tiny/manifest.json", Body=b"{}")

    done = root.run("destroy", "-auto-approve", "-input=false", "-target=module.genai.aws_s3_bucket.models")

    assert done.returncode != 0
    assert "BucketNotEmpty" in done.stderr
    assert client("s3").head_object(Bucket="genai-models", Key="models/tiny/manifest.json")
