"""`genai doctor --probe` on a real node: what only pods can tell, as a user reads it, with the Role that we ship."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from genai_pipeline.cli.probe.probe_jobs import LABELS
from genai_pipeline.gateways.cluster.kubernetes.pod_logs import labels_selector
from tests.cluster.identities import kubectl
from tests.cluster.life.images import can_build
from tests.cluster.life.services import BUCKET, write_model
from tests.cluster.life.surroundings import Installation, installed
from tests.cluster.life.weather import model_file
from tests.cluster.machine.cluster import until
from tests.fakes.listening import Listening

pytestmark = [
    pytest.mark.needs("pods"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_build(), reason="builds the agent's image"),
]
NOWHERE = "http://s3.nowhere.svc:8333"


@pytest.fixture(scope="module")
def installation(real, tmp_path_factory) -> Iterator[Installation]:
    with installed(real, tmp_path_factory, "probe", model_file()) as made:
        yield made


def probed(installation: Installation, *words: str, **environment: str) -> tuple[int, list[str]]:
    """The exit code and the lines of the report."""
    with_these = replace(installation, environment=installation.environment | environment)
    done = with_these.genai("doctor", "--probe", *words, deadline_s=240)
    assert "Traceback" not in done.stderr
    assert left(installation) == []
    return done.returncode, done.stdout.splitlines()


def left(installation: Installation) -> list[str]:
    """The pods and Jobs of a probe."""
    asked = ("get", "jobs,pods", "-n", installation.namespace, "-l", labels_selector(LABELS), "-o", "name")
    return kubectl(installation.cluster.kubeconfig, *asked).stdout.split()


def line(lines: list[str], *words: str) -> str:
    found = [one for one in lines if all(word in one for word in words)]
    assert len(found) == 1, "\n".join(lines)
    return found[0]


def test_where_all_is_well_nothing_fails_and_nothing_stays(installation):
    code, lines = probed(installation)

    assert not [one for one in lines if one.startswith("fail")]
    assert code == 0
    for image in ("localhost/vllm-cpu:1", "strands-agent", "chat-ui"):
        assert line(lines, "ok ", "has localhost", image)
    assert line(lines, "ok ", "engines: their pods may list models/", "Nothing is staged yet")
    assert line(lines, "ok ", "agents: their pods may read and write sessions/genai-doctor/")
    assert line(lines, "ok ", "agents: their pods reach the weather service")
    assert line(lines, "ok ", "a pipeline in this cluster: their pods reach the hub")


class _Registry(http.server.BaseHTTPRequestHandler):
    """Has no image, or says nothing for long."""

    def do_GET(self) -> None:
        if "/slow/" in self.path:
            self.server.fake.stopped.wait(60)  # type: ignore[attr-defined]
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()


@pytest.fixture
def registry(real) -> Iterator[str]:
    """On loopback, where container runtimes speak plain HTTP; this process is in the node's network."""
    with Listening(_Registry) as server:
        yield server.address.removeprefix("http://")


def engine_of(installation: Installation, folder: Path, image: str) -> str:
    """A folder with the model file, whose engine has another image."""
    model = model_file()
    model["serving"]["image"] = image
    write_model(folder, model)
    return str(folder / "models")


def test_an_image_that_is_not_there_is_named_with_the_words_of_kubelet_and_the_others_are_not(
    installation, registry, tmp_path
):
    code, lines = probed(installation, GENAI_MODELS=engine_of(installation, tmp_path, f"{registry}/missing/vllm:1"))

    assert code == 1
    (failed,) = [one for one in lines if one.startswith("fail")]
    assert "weather: on node" in failed
    assert f"The registry has no image {registry}/missing/vllm:1" in failed
    assert "Failed to pull image" in failed
    assert failed.endswith("Correct the image, which is `serving.image` of an engine, or push it.")
    assert line(lines, "ok ", "strands-agent")


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        (NOWHERE, "do not know the name s3.nowhere.svc"),
        ("http://127.0.0.1:9", "get no connection to http://127.0.0.1:9"),
    ],
)
def test_an_s3_that_only_pods_do_not_reach_fails_with_the_setting(installation, endpoint, says):
    code, lines = probed(installation, GENAI_PODS_S3_ENDPOINT=endpoint)

    assert code == 1
    assert line(lines, "ok ", f"bucket {BUCKET} can be listed")  # from here
    for who in ("engines", "agents"):
        assert "GENAI_PODS_S3_ENDPOINT" in line(lines, "fail", f"{who}: pods {says}")


def test_keys_that_s3_does_not_take_from_pods_are_told_as_s3_says_it(installation):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "agent-store"}}
    secret["stringData"] = {"AWS_ACCESS_KEY_ID": "another", "AWS_SECRET_ACCESS_KEY": "one"}
    admin = installation.cluster.kubeconfig
    kubectl(admin, "apply", "-n", installation.namespace, "-f", "-", given=[secret])

    code, lines = probed(installation, GENAI_AGENT_STORE_SECRET="agent-store")

    assert code == 1
    assert "Secret agent-store" in line(
        lines, "fail", "agents: their pods may not list sessions/", "InvalidAccessKeyId"
    )
    assert line(lines, "ok ", "engines: their pods may list models/")


def test_a_verb_that_the_role_lost_is_named_and_the_probe_asks_nothing(installation):
    admin, role = installation.cluster.kubeconfig, ("role", "genai-pipeline", "-n", installation.namespace)
    whole = json.loads(kubectl(admin, "get", *role, "-o", "json").stdout)
    less = whole | {"rules": [rule for rule in whole["rules"] if rule["resources"] not in (["jobs"], ["events"])]}
    kubectl(admin, "replace", "-f", "-", given=[{**less, "metadata": {"name": role[1], "namespace": role[3]}}])
    try:
        code, lines = probed(installation)
    finally:
        kubectl(admin, "replace", "-f", "-", given=[{**whole, "metadata": {"name": role[1], "namespace": role[3]}}])

    assert code == 1
    named = line(lines, "fail", "this identity may not")
    assert all(verb in named for verb in ("create jobs.batch", "delete jobs.batch", "list events", "watch events"))
    assert "genai render --rbac" in named
    assert line(lines, "fail", "We may not patch jobs.batch")


def test_a_probe_that_was_killed_leaves_nothing_after_the_next_one(installation, registry, tmp_path):
    models = engine_of(installation, tmp_path, f"{registry}/slow/vllm:1")
    killed = subprocess.Popen(
        [sys.executable, "-m", "genai_pipeline.cli", "doctor", "--probe"],
        env=installation.environment | {"GENAI_MODELS": models}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: any(name.startswith("pod/") for name in left(installation)), "its pods", 90)
    finally:
        killed.kill()
        killed.wait()
    assert left(installation)

    code, lines = probed(installation)  # asserts that nothing is left

    assert code == 0, lines
