"""The chart charts/strands-agent on a real node: helm installs it, `helm test` asks it a question.

The image is our own, the model one that does what a script says, outside of the cluster as Bedrock would be.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.helm import WAIT_S, helm
from tests.cluster.identities import kubectl
from tests.cluster.life.images import image_name, own_images
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.cluster.machine.node import NODE_ADDRESS
from tests.fakes.scripted_model import Say, ScriptedModel, tells_the_time
from tests.unit.k8s.chart import CHART

pytestmark = [pytest.mark.needs("pods"), pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Installed:
    kubeconfig: Path
    namespace: str
    model: ScriptedModel

    def helm(self, *words: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        return helm(self.kubeconfig, self.namespace, *words, values=values)

    def pods(self) -> list[dict[str, Any]]:
        told = kubectl(
            self.kubeconfig,
            "get",
            "pods",
            "-n",
            self.namespace,
            "-l",
            "app.kubernetes.io/component=agent",
            "-o",
            "json",
        )
        return json.loads(told.stdout)["items"]


def values(model: ScriptedModel, **more: Any) -> dict[str, Any]:
    repository, _, tag = image_name("strands-agent").rpartition(":")
    return {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
        "replicaCount": 2,
        "model": {"baseUrl": model.url, "id": model.name},
        "weather": {"url": f"http://{NODE_ADDRESS}:9"},
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}},
        **more,
    }


@pytest.fixture(scope="module")
def installed(real: Any) -> Iterator[Installed]:
    if not hasattr(real, "import_image"):
        pytest.skip("this cluster has no pods of our own images")
    for archive in own_images():
        real.import_image(archive)
    namespace = f"chart-{os.urandom(4).hex()}"
    create_namespace(real.kubeconfig, namespace)
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    kubectl(real.kubeconfig, "label", "namespace", namespace, enforce)
    with ScriptedModel(tells_the_time, host=NODE_ADDRESS) as model:
        release = Installed(real.kubeconfig, namespace, model)
        words = ["install", "agent", str(CHART), "--wait", f"--timeout={WAIT_S}s"]
        done = release.helm(*words, values=values(model))
        assert done.returncode == 0, done.stderr
        try:
            yield release
        finally:
            delete_namespace(real.kubeconfig, namespace)


def test_helm_waits_until_every_replica_answers_its_readiness(installed):
    ready = [c["ready"] for pod in installed.pods() for c in pod["status"]["containerStatuses"]]

    assert ready == [True, True]


def test_pods_run_with_a_root_that_cannot_be_written_and_not_as_root(installed):
    for pod in installed.pods():
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] == 2000
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_helm_test_asks_a_real_question_and_passes(installed):
    done = installed.helm("test", "agent", "--logs", f"--timeout={WAIT_S}s")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "get_current_time" in done.stdout


def test_helm_test_fails_on_an_agent_whose_model_calls_no_tool(installed):
    told, installed.model.script = installed.model.script, lambda _: Say("It is noon.")
    try:
        done = installed.helm("test", "agent", f"--timeout={WAIT_S}s")
    finally:
        installed.model.script = told

    assert done.returncode != 0


def test_an_upgrade_keeps_an_agent_ready_all_the_way(installed):
    before = {pod["metadata"]["uid"] for pod in installed.pods()}
    words = ["upgrade", "agent", str(CHART), "--wait", f"--timeout={WAIT_S}s"]

    done = installed.helm(*words, values=values(installed.model, limits={"maxToolCycles": 4}))

    assert done.returncode == 0, done.stderr
    after = [pod for pod in installed.pods() if not pod["metadata"].get("deletionTimestamp")]
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in after)
    assert len(after) == 2
