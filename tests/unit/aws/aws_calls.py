"""Which requests the package sends to AWS, by its syntax trees, and which actions of IAM they need."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "genai_pipeline"
SERVICES = ("s3", "ec2", "service-quotas", "pricing", "bedrock-runtime")

CLIENTS = {
    "genai-pipeline": ("gateways/store", "gateways/aws", "gateways/metrics"),
    "genai-engine": ("k8s/restoring.py", "k8s/prefetching.py"),
    "genai-agent": ("agent/sessions", "agent/models/bedrock_provider.py"),
}
"""The modules that hold clients of AWS, by the account that they run as."""

ELSEWHERE = {
    "genai-pipeline": frozenset[str](),
    "genai-engine": frozenset({"ListObjectsV2", "GetObject"}),
    "genai-agent": frozenset({"ConverseStream"}),
}
"""What a dependency sends: vLLM, its streamer and boto3's `download_file`; Strands' BedrockModel, which streams unless
`streaming` is false."""

ACTIONS: Mapping[str, frozenset[str]] = {
    operation: frozenset(actions.split())
    for operation, actions in {
        "HeadBucket": "s3:ListBucket",
        "ListObjectsV2": "s3:ListBucket",
        "HeadObject": "s3:GetObject",
        "GetObject": "s3:GetObject",
        "PutObject": "s3:PutObject",
        "CopyObject": "s3:GetObject s3:PutObject",
        "DeleteObject": "s3:DeleteObject",
        "DeleteObjects": "s3:DeleteObject",
        "CreateMultipartUpload": "s3:PutObject",
        "UploadPart": "s3:PutObject",
        "UploadPartCopy": "s3:GetObject s3:PutObject",
        "CompleteMultipartUpload": "s3:PutObject",
        "AbortMultipartUpload": "s3:AbortMultipartUpload",
        "ListParts": "s3:ListMultipartUploadParts",
        "ListMultipartUploads": "s3:ListBucketMultipartUploads",
        "CreateBucket": "",  # only where the bucket is absent, and an administrator makes it
        "DescribeCapacityReservations": "ec2:DescribeCapacityReservations",
        "DescribeInstances": "ec2:DescribeInstances",
        "DescribeInstanceTypes": "ec2:DescribeInstanceTypes",
        "GetProducts": "pricing:GetProducts",
        "GetServiceQuota": "servicequotas:GetServiceQuota",
        "Converse": "bedrock:InvokeModel",
        "ConverseStream": "bedrock:InvokeModelWithResponseStream",
        "query": "aps:QueryMetrics",  # of Prometheus' API
    }.items()
}
"""Operation -> actions. Sources: Amazon S3 user guide, "Required permissions for Amazon S3 API operations"; Service
Authorization Reference; Amazon Bedrock API reference, "Converse" and "ConverseStream"; AMP user guide, "IAM"."""


def needed_actions(account: str) -> set[str]:
    """Return what the code of an account needs in AWS. Raises: KeyError: an operation that ACTIONS does not know."""
    operations = {found for module in modules_of(account) for found in operations_of(module)} | ELSEWHERE[account]
    return {action for operation in operations for action in ACTIONS[operation]}


def modules_of(account: str) -> Iterator[Path]:
    for place in CLIENTS[account]:
        yield from (PACKAGE / place).rglob("*.py") if (PACKAGE / place).is_dir() else [PACKAGE / place]


def modules_with_clients() -> set[Path]:
    """Return every module that imports boto3 or botocore, and could send requests that are not counted."""
    return {module for module in PACKAGE.rglob("*.py") if _imports_boto(ast.parse(module.read_text()))}


def operations_of(module: Path) -> Iterator[str]:
    """Yield the operations that a module names: methods, paginators, S3's own PUTs, and paths of Prometheus' API."""
    text = module.read_text()
    if "metrics" in module.parts:
        yield from re.findall(r"/api/v1/(\w+)", text)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            method, first = node.func.attr, node.args[0] if node.args else None
            named = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
            if method == "get_paginator":
                yield _operations()[named]
            elif method == "put" and named in _operations().values():
                yield named
            elif method in _operations():
                yield _operations()[method]


@cache
def _operations() -> Mapping[str, str]:
    """Return method of boto3 -> operation."""
    import boto3

    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    clients = [boto3.client(service, **keys) for service in SERVICES]
    return {method: operation for c in clients for method, operation in c.meta.method_to_api_mapping.items()}


def _imports_boto(tree: ast.AST) -> bool:
    names = [
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    return any(name.partition(".")[0] in ("boto3", "botocore") for name in names)
