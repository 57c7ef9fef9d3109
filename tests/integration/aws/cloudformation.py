"""Writes what Terraform made as a CloudFormation template, so that AWS's own published schemas judge it.

moto knows neither Pod Identity nor access entries nor reservations, and the provider checks few of their values.
cfn-lint brings the schemas: enumerations, required properties, exclusive ones, and the names of IAM's actions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.integration.aws.terraform import State

TAKEN = {
    "aws_eks_cluster.genai": (
        "AWS::EKS::Cluster",
        "name version role_arn bootstrap_self_managed_addons access_config.authentication_mode "
        "access_config.bootstrap_cluster_creator_admin_permissions compute_config.enabled compute_config.node_pools "
        "compute_config.node_role_arn kubernetes_network_config.elastic_load_balancing.enabled "
        "storage_config.block_storage.enabled upgrade_policy.support_type vpc_config.subnet_ids "
        "vpc_config.endpoint_private_access vpc_config.endpoint_public_access vpc_config.public_access_cidrs",
    ),
    "aws_eks_access_entry.reserved_node": ("AWS::EKS::AccessEntry", "cluster_name principal_arn type"),
    "aws_eks_access_entry.administrator": ("AWS::EKS::AccessEntry", "cluster_name principal_arn"),
    "aws_eks_pod_identity_association.pod": (
        "AWS::EKS::PodIdentityAssociation",
        "cluster_name namespace service_account role_arn",
    ),
    "aws_ec2_capacity_reservation.gpu": (
        "AWS::EC2::CapacityReservation",
        "instance_type instance_platform availability_zone instance_count instance_match_criteria end_date_type "
        "end_date",
    ),
    "aws_db_instance.dagster": (
        "AWS::RDS::DBInstance",
        "identifier engine engine_version instance_class multi_az allocated_storage max_allocated_storage storage_type "
        "storage_encrypted db_name username manage_master_user_password db_subnet_group_name vpc_security_group_ids "
        "publicly_accessible auto_minor_version_upgrade backup_retention_period copy_tags_to_snapshot "
        "deletion_protection",
    ),
}
"""Resource of Terraform -> type of CloudFormation, and the arguments that deploy/terraform sets."""

RENAMED = {
    "vpc_config": "ResourcesVpcConfig",
    "identifier": "DBInstanceIdentifier",
    "instance_class": "DBInstanceClass",
    "multi_az": "MultiAZ",
    "db_name": "DBName",
    "username": "MasterUsername",
    "db_subnet_group_name": "DBSubnetGroupName",
    "vpc_security_group_ids": "VPCSecurityGroups",
}
"""What CloudFormation calls otherwise than in its usual form of the same words."""

MAJOR_VERSIONS = "W3691"
"""It compares with full versions of PostgreSQL. RDS also takes a major version, and keeps the minor one current."""


def template(state: State) -> dict[str, Any]:
    """Return the template of the resources that are TAKEN, and of the roles of pods with their policies."""
    found: dict[str, Any] = {}
    for name, (kind, arguments) in TAKEN.items():
        for key, values in state.resources(name).items():
            found[_id(name, key)] = {"Type": kind, "Properties": _properties(values, arguments.split())}
    for key, entry in state.resources("aws_eks_access_policy_association.administrator").items():
        found[_id("aws_eks_access_entry.administrator", key)]["Properties"]["AccessPolicies"] = [_policy_of(entry)]
    reserved = state.resources("aws_eks_access_policy_association.reserved_node")[""]
    found[_id("aws_eks_access_entry.reserved_node", "")]["Properties"]["AccessPolicies"] = [_policy_of(reserved)]
    policies = state.resources("aws_iam_role_policy.pod")
    for key, role in state.resources("aws_iam_role.pod").items():
        inline = {"PolicyName": policies[key]["name"], "PolicyDocument": json.loads(policies[key]["policy"])}
        properties = {"AssumeRolePolicyDocument": json.loads(role["assume_role_policy"]), "Policies": [inline]}
        found[_id("role", key)] = {"Type": "AWS::IAM::Role", "Properties": properties}
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": found}


def complaints(written: Mapping[str, Any], region: str) -> list[str]:
    """Return what AWS's schemas of one region say against a template."""
    from cfnlint.api import ManualArgs, lint

    asked = ManualArgs(regions=[region], ignore_checks=[MAJOR_VERSIONS])
    return [str(match) for match in lint(json.dumps(written), config=asked)]


def _properties(values: Mapping[str, Any], paths: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path in paths:
        value, place = values, made
        *blocks, last = path.split(".")
        for block in blocks:
            value, place = value[block][0], place.setdefault(_pascal(block), {})
        if value[last] is not None:
            place[_pascal(last)] = value[last]
    return made


def _policy_of(association: Mapping[str, Any]) -> dict[str, Any]:
    return {"PolicyArn": association["policy_arn"], "AccessScope": {"Type": association["access_scope"][0]["type"]}}


def _pascal(name: str) -> str:
    return RENAMED.get(name) or "".join(word.capitalize() for word in name.split("_"))


def _id(name: str, key: str) -> str:
    return "".join(_letters(f"{name} {key}"))


def _letters(text: str) -> Iterator[str]:
    yield from (letter for letter in text.title() if letter.isalnum())
