"""A ServiceAccount's own kubeconfig, and what its identity may do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from tests.cluster.machine.objects import api


def kubectl(kubeconfig: Path, *words: str, given: Any = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run kubectl; `given` objects go to its standard input. Raises RuntimeError with its words if `check` is on."""
    text = None if given is None else yaml.safe_dump_all(given)
    result = subprocess.run(
        ["kubectl", "--kubeconfig", str(kubeconfig), *words],
        input=text, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if check and result.returncode:
        raise RuntimeError(f"kubectl {' '.join(words)}: {result.stderr}")
    return result


def kubeconfig_of(admin: Path, namespace: str, account: str, folder: Path, hours: int = 1) -> Path:
    """A kubeconfig with a fresh token of the account, for so many hours, and nothing of the administrator's."""
    config = yaml.safe_load(admin.read_text())
    context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
    (cluster,) = [c for c in config["clusters"] if c["name"] == context["cluster"]]
    token = kubectl(admin, "create", "token", account, "-n", namespace, f"--duration={hours}h").stdout.strip()
    written = folder / f"{account}.kubeconfig"
    written.touch(mode=0o600)
    written.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [cluster],
                "users": [{"name": account, "user": {"token": token}}],
                "contexts": [
                    {"name": account, "context": {"cluster": cluster["name"], "user": account, "namespace": namespace}}
                ],
                "current-context": account,
            }
        )
    )
    return written


def rules_of(kubeconfig: Path, namespace: str) -> tuple[set[str], set[str]]:
    """What the API server says that this identity may do there: `verb resource`, and the paths beside the resources."""
    with api(kubeconfig) as connection:
        review = client.AuthorizationV1Api(connection).create_self_subject_rules_review(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectRulesReview",
                "spec": {"namespace": namespace},
            }
        )
    resources = {f"{v} {r}" for rule in review.status.resource_rules for v in rule.verbs for r in rule.resources or []}
    paths = {p for rule in review.status.non_resource_rules for p in rule.non_resource_urls or []}
    return resources, paths
