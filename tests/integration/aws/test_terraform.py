"""deploy/terraform against the docs and the code: names, accounts, permissions. Nothing is missing, nothing to spare.

Nothing is applied to AWS. Terraform's own tests run with a mocked provider, which checks every argument by its schema.
"""

from __future__ import annotations

import copy
import json
import re
from importlib.util import find_spec

import pytest
import yaml

from genai_pipeline.cli.manifests import rbac_objects, watched
from genai_pipeline.cli.terraform_outputs import settings_of
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways.metrics.amazon_workspace import signing_region
from genai_pipeline.k8s.render import render_chat_ui, render_node_pools, render_platform
from tests.integration.aws.cloudformation import TAKEN, complaints, template
from tests.integration.aws.terraform import MODULE, PROGRAM, WITHOUT_PROGRAM, WITHOUT_PROVIDER, Terraform, mirror
from tests.unit.aws.documented_permissions import DOCS, documented
from tests.unit.k8s.everything import RESERVED, SMALL, of_release
from tests.unit.k8s.pipeline_chart import LEAST, of_pipeline

MIRROR = mirror()
ACCOUNT, REGION = "123456789012", "eu-west-1"
needs_provider = pytest.mark.skipif(not (PROGRAM and MIRROR), reason=WITHOUT_PROVIDER)
needs_schemas = pytest.mark.skipif(not find_spec("cfnlint"), reason="needs the package cfn-lint: `make install`")


@pytest.fixture(scope="module")
def terraform(tmp_path_factory):
    return Terraform.initialized(tmp_path_factory.mktemp("terraform"), MIRROR)


@pytest.fixture(scope="module")
def everything(terraform):
    """The module with every permission that can be asked for."""
    return terraform.states.state("everything")


@pytest.fixture(scope="module")
def complete(terraform):
    """The example, as it is shipped."""
    return terraform.states.state("complete")


@pytest.fixture(scope="module")
def as_template(everything):
    return template(everything)


@pytest.fixture(scope="module")
def profile(complete):
    settings, _ = settings_of(json.dumps(complete.outputs))
    return Profile.load(settings)


@pytest.mark.skipif(not PROGRAM, reason=WITHOUT_PROGRAM)
def test_files_have_terraforms_own_format(tmp_path):
    done = Terraform.copy_to(tmp_path, None).run("fmt", "-check", "-recursive", "-diff")

    assert done.returncode == 0, done.stdout


@needs_provider
@pytest.mark.long
def test_its_own_tests_pass(terraform):
    outcomes = terraform.states.outcomes() | terraform.others.outcomes()
    complaints = [*terraform.states.complaints(), *terraform.others.complaints()]

    assert {name for name, outcome in outcomes.items() if outcome != "pass"} == set(), complaints
    assert len(outcomes) == sum(len(re.findall(r"^run ", f.read_text(), re.M)) for f in MODULE.glob("tests/*.hcl"))


@needs_provider
@pytest.mark.long
def test_every_role_has_the_documented_permissions_and_no_more(everything):
    granted = {
        account: {a for s in statements for a in s["Action"] if not a.startswith("kms:")}
        for account, statements in everything.statements().items()
    }

    assert granted == documented()


@needs_provider
@pytest.mark.long
def test_what_was_not_asked_for_is_not_granted(complete):
    granted = {a for statements in complete.statements().values() for s in statements for a in s["Action"]}

    assert {a for a in granted if a.startswith(("bedrock:", "kms:"))} == set()


@needs_provider
@pytest.mark.long
def test_the_agents_policy_and_its_trust_are_those_of_the_docs(everything):
    written = (DOCS / "eks.md").read_text()
    bucket = everything.resources("aws_s3_bucket.models")[""]["bucket"]
    for name, value in {
        "BUCKET": bucket,
        "ACCOUNT": ACCOUNT,
        "REGION": REGION,
        "cluster/CLUSTER": "cluster/genai",
    }.items():
        written = re.sub(rf"\b{name}\b", value, written)
    policy, trust = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", written, re.S)]

    ours = [s for s in everything.statements()["genai-agent"] if s["Sid"] != "UseKey"]

    assert [_plain(s) for s in ours] == [_plain(s) for s in policy["Statement"]]
    assert json.loads(everything.resources("aws_iam_role.pod")["agent"]["assume_role_policy"]) == trust


@needs_provider
@pytest.mark.long
def test_only_what_knows_no_resources_is_granted_on_all(everything):
    on_all = {a for ss in everything.statements().values() for s in ss if "*" in s["Resource"] for a in s["Action"]}

    assert {a.partition(":")[0] for a in on_all} == {"ec2", "pricing", "servicequotas"}


@needs_provider
@pytest.mark.long
def test_accounts_are_those_of_the_rendered_objects(everything, profile):
    objects = [*render_platform(profile), *rbac_objects(profile)[0][1], *watched([SMALL], profile)[0][1]]
    objects += of_pipeline(LEAST)
    rendered = {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"}
    bound = everything.resources("aws_eks_pod_identity_association.pod").values()

    assert {a["service_account"] for a in bound if a["namespace"] == profile.namespace} == rendered


@needs_provider
@pytest.mark.long
def test_accounts_of_the_monitoring_are_those_of_the_values(everything):
    values = yaml.safe_load((MODULE.parent / "observability/kube-prometheus-stack.yaml").read_text())
    named = {values[part]["serviceAccount"]["name"] for part in ("grafana", "prometheus")}
    bound = everything.resources("aws_eks_pod_identity_association.pod").values()

    assert {a["service_account"] for a in bound if a["namespace"] == "monitoring"} == named


@needs_provider
@pytest.mark.long
def test_outputs_of_the_example_are_settings_and_nothing_else(complete):
    settings, others = settings_of(json.dumps(complete.outputs))

    assert others == []
    assert settings["GENAI_PROFILE"] == "eks"
    assert set(settings) == set(complete.outputs)


@needs_provider
@pytest.mark.long
def test_every_image_of_ours_has_a_repository(complete, profile):
    objects = [*of_release(SMALL, profile), *render_chat_ui(profile, [SMALL]), *watched([SMALL], profile)[0][1]]
    text = yaml.safe_dump_all(objects)

    assert set(re.findall(rf"image: {profile.image_registry}(\S+):", text)) == set(
        complete.resources("aws_ecr_repository.image")
    )


@needs_provider
@pytest.mark.long
def test_nodes_with_reservations_find_role_subnets_and_group(complete, profile):
    (node_class,) = [o for o in render_node_pools(profile, [RESERVED]) if o["kind"] == "NodeClass"]
    (subnets,) = node_class["spec"]["subnetSelectorTerms"]
    (group,) = node_class["spec"]["securityGroupSelectorTerms"]
    made = complete.resources("aws_subnet.private").values()

    assert len([s for s in made if subnets["tags"].items() <= s["tags"].items()]) == 3
    assert node_class["spec"]["role"] == complete.resources("aws_iam_role.node")["reserved-node"]["name"]
    # EKS gives its own security group this tag.
    assert group["tags"] == {
        f"kubernetes.io/cluster/{complete.resources('aws_eks_cluster.genai')['']['name']}": "owned"
    }


@needs_provider
@pytest.mark.long
def test_queries_are_signed_for_the_workspace(profile):
    assert signing_region(profile) == REGION


@needs_provider
@needs_schemas
@pytest.mark.long
def test_everything_is_as_aws_publishes_it(as_template):
    assert {one["Type"] for one in as_template["Resources"].values()} == {kind for kind, _ in TAKEN.values()} | {
        "AWS::IAM::Role"
    }
    assert complaints(as_template, REGION) == []


@needs_provider
@needs_schemas
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "path", "wrong", "says"),
    [
        ("AWS::EKS::Cluster", "AccessConfig.AuthenticationMode", "APIS", "is not one of"),
        ("AWS::EKS::Cluster", "UpgradePolicy.SupportType", "FREE", "is not one of"),
        ("AWS::EKS::AccessEntry", "AccessPolicies.0.AccessScope.Type", "clster", "is not one of"),
        ("AWS::EKS::PodIdentityAssociation", "ServiceAccount", None, "is a required property"),
        ("AWS::EC2::CapacityReservation", "InstanceMatchCriteria", "target", "is not one of"),
        ("AWS::RDS::DBInstance", "DBInstanceClass", "db.t4g.tiny", "is not one of"),
        ("AWS::IAM::Role", "Policies.0.PolicyDocument.Statement.0.Action", ["s3:GetObjekt"], "getobjekt"),
    ],
)
def test_a_wrong_value_is_seen(as_template, kind, path, wrong, says):
    spoiled = copy.deepcopy(as_template)
    place = next(one for one in spoiled["Resources"].values() if one["Type"] == kind)["Properties"]
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if step.isdecimal() else step]
    if wrong is None:
        del place[last]
    else:
        place[last] = wrong

    assert any(says in one for one in complaints(spoiled, REGION)), complaints(spoiled, REGION)


def _plain(statement):
    """Return a statement with lists for what may be a text or a list."""
    return {k: [v] if k in ("Action", "Resource") and isinstance(v, str) else v for k, v in statement.items()}
