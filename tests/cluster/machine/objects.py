"""What has to stand in a cluster before tests begin, and whether it does; as an administrator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError

FIELD_MANAGER = "test-cluster"
ESTABLISHED_DEADLINE_S = 20


def api(kubeconfig: Path) -> client.ApiClient:
    return config.new_client_from_config(str(kubeconfig))


def answers(kubeconfig: Path) -> bool:
    """Does the API server say that it is ready?"""
    try:
        with api(kubeconfig) as connection:
            connection.request(
                "GET", f"{connection.configuration.host}/readyz", headers=_headers(connection), _request_timeout=3
            )
    except (ApiException, urllib3.exceptions.HTTPError):
        return False
    return True


def _headers(connection: client.ApiClient) -> dict[str, str]:
    return {"Authorization": connection.configuration.get_api_key_with_prefix("authorization") or ""}


def node_is_ready(kubeconfig: Path, name: str) -> bool:
    try:
        with api(kubeconfig) as connection:
            found = client.CoreV1Api(connection).read_node(name)
    except ApiException:
        return False
    return any(c.type == "Ready" and c.status == "True" for c in found.status.conditions or [])


def has_default_account(kubeconfig: Path) -> bool:
    """Without it the API server refuses every pod."""
    try:
        with api(kubeconfig) as connection:
            client.CoreV1Api(connection).read_namespaced_service_account("default", "default")
    except ApiException:
        return False
    return True


def apply_files(kubeconfig: Path, files: Iterable[Path]) -> None:
    """Apply every document of the files, in their order."""
    apply(kubeconfig, [d for file in files for d in yaml.safe_load_all(file.read_text()) if d])


def apply(kubeconfig: Path, documents: Iterable[Mapping[str, Any]]) -> None:
    """Server-side apply; it returns when the API server serves every kind that the documents define."""
    documents = list(documents)
    with api(kubeconfig) as connection:
        dynamic = DynamicClient(connection)
        for document in documents:
            _again_until_known(dynamic, partial(_apply, dynamic, document))
        for api_version, kind in _defined(documents):
            _again_until_known(dynamic, partial(_list, dynamic, api_version, kind))


def _defined(documents: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for spec in (d["spec"] for d in documents if d["kind"] == "CustomResourceDefinition"):
        for version in spec["versions"]:
            if version["served"]:
                yield f"{spec['group']}/{version['name']}", spec["names"]["kind"]


def _apply(dynamic: DynamicClient, document: Mapping[str, Any]) -> None:
    metadata = document["metadata"]
    dynamic.server_side_apply(
        dynamic.resources.get(api_version=document["apiVersion"], kind=document["kind"]),
        body=document,
        name=metadata["name"],
        namespace=metadata.get("namespace"),
        field_manager=FIELD_MANAGER,
        force_conflicts=True,
    )


def _list(dynamic: DynamicClient, api_version: str, kind: str) -> None:
    dynamic.get(dynamic.resources.get(api_version=api_version, kind=kind), limit=1)


def _again_until_known(dynamic: DynamicClient, request: Callable[[], None]) -> None:
    pause, tries = threading.Event(), ESTABLISHED_DEADLINE_S * 10
    for attempt in range(tries):
        try:
            request()
            return
        except (ResourceNotFoundError, ApiException) as error:
            if attempt == tries - 1 or getattr(error, "status", 404) not in (404, 500, 503):
                raise
            pause.wait(0.1)
            dynamic.resources.invalidate_cache()
