"""Namespaces of tests: made, removed, and told about when a test fails."""

from __future__ import annotations

from pathlib import Path

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.cluster.machine.cluster import until
from tests.cluster.machine.objects import api

EVENTS_SHOWN, LINES_SHOWN = 30, 20


def create_namespace(kubeconfig: Path, name: str) -> None:
    """Make it, with the service account without which no pod is admitted."""
    with api(kubeconfig) as connection:
        core = client.CoreV1Api(connection)
        core.create_namespace({"metadata": {"name": name}})
        until(lambda: core.list_namespaced_service_account(name).items, "the default service account", 20)


def namespace_exists(kubeconfig: Path, name: str) -> bool:
    with api(kubeconfig) as connection:
        return any(one.metadata.name == name for one in client.CoreV1Api(connection).list_namespace().items)


def delete_namespace(kubeconfig: Path, name: str) -> None:
    """Ask for its removal; nobody waits for the pods to end."""
    with api(kubeconfig) as connection:
        try:
            client.CoreV1Api(connection).delete_namespace(name)
        except ApiException as error:
            if error.status != 404:
                raise


def what_happened(kubeconfig: Path, name: str) -> str:
    """Events and the last log lines of every container, for the report of a failed test."""
    with api(kubeconfig) as connection:
        core = client.CoreV1Api(connection)
        events = core.list_namespaced_event(name).items[-EVENTS_SHOWN:]
        shown = [f"{e.involved_object.kind}/{e.involved_object.name} {e.reason}: {e.message}" for e in events]
        for pod in core.list_namespaced_pod(name).items:
            for container in pod.spec.containers:
                shown += [
                    f"--- {pod.metadata.name}/{container.name}",
                    _log(core, name, pod.metadata.name, container.name),
                ]
    return "\n".join(shown)


def _log(core: client.CoreV1Api, namespace: str, pod: str, container: str) -> str:
    try:
        return core.read_namespaced_pod_log(pod, namespace, container=container, tail_lines=LINES_SHOWN) or ""
    except ApiException as error:
        return f"(no log: {error.reason})"
