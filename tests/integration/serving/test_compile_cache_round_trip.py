"""From one pod to the next: what an engine compiled, by way of the pipeline and a real S3, and what that pod says."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from genai_pipeline.core.compile_cache import CacheManifest, Reason, Restored
from genai_pipeline.core.facts import CompileCache
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.k8s import restoring
from genai_pipeline.k8s.cache_pin import cache_place, render_cache_pin
from genai_pipeline.k8s.engine import MIDDLEWARES, POD_FILES
from genai_pipeline.local.ports import free_port
from genai_pipeline.staging.compile_caches import find, keep
from tests.fakes.demo_engines import wait_for
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE

ENGINE = Path(__file__).parents[2] / "fakes" / "openai_server.py"
SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "f")
RELEASE = Release.of(SPEC, "a" * 40)
PLACE = cache_place(SPEC.serving, RELEASE, PROFILE)
COMPILED = {"cache/vllm/torch_compile_cache/ab/graph": b"graph", "cache/triton/AB/kernel.so": b"\x7fELF"}
TOKEN = "right"


@pytest.fixture
def pod(tmp_path):
    """Starts an engine with a home, on the server and with the middlewares that a pod has. Returns a client of it."""
    running = []

    def start(home):
        folder = tmp_path / "etc"
        folder.mkdir(exist_ok=True)
        for file in POD_FILES:
            (folder / file.name).write_text(file.source)
        port = free_port()
        command = [sys.executable, str(ENGINE), "--port", str(port), "--served-model-name", "m"]
        env = {"PYTHONPATH": str(folder), "HOME": str(home), "GENAI_PIPELINE_TOKEN": TOKEN}
        process = subprocess.Popen([*command, *(f"--middleware={m}" for m in MIDDLEWARES)], env=os.environ | env)
        running.append(process)
        client = OpenAIInference(f"http://127.0.0.1:{port}")
        wait_for(lambda: _answers(client), 30)
        return client

    yield start
    for process in running:
        process.kill()


def _answers(client):
    try:
        return client.models()
    except Exception:
        return None


@pytest.fixture
def homes(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for name, content in COMPILED.items():
        (one / name).parent.mkdir(parents=True, exist_ok=True)
        (one / name).write_bytes(content)
    two.mkdir()
    return one, two


def harvested(client, store):
    draft = CacheManifest(PLACE.model, PLACE.revision, PLACE.key, RELEASE.id)

    def pull(sink):
        return client.pull_compile_cache(TOKEN, sink, 30).made_with

    return keep(store, draft, pull, find(store, PLACE))


def pinned(manifest, bucket):
    """What the ConfigMap gives the init container, as its variables."""
    pin = CompileCache(key=manifest.key, sha256=manifest.sha256, made_with=manifest.made_with)
    (found,) = render_cache_pin(RELEASE, replace(PROFILE, bucket=bucket), pin)
    names = {"url": "GENAI_CACHE_URL", "sha256": "GENAI_CACHE_SHA256", "made-with": "GENAI_CACHE_MADE_WITH"}
    return {names[key]: value for key, value in found["data"].items()}


def test_the_next_pod_starts_with_what_the_first_one_compiled(store, s3_server, homes, pod, monkeypatch):
    one, two = homes
    manifest = harvested(pod(one), store)
    assert (manifest.files, manifest.made_with) == (len(COMPILED), restoring.made_with())

    _restore(monkeypatch, two, s3_server.env | pinned(manifest, store.bucket))

    assert {name: (two / name).read_bytes() for name in COMPILED} == COMPILED
    said = pod(two).restored(TOKEN)
    assert (said.hit, said.reason, said.sha256) == (True, Reason.HIT, manifest.sha256)
    assert said.bytes == manifest.size


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"GENAI_CACHE_URL": ""}, Reason.NONE),
        ({"GENAI_CACHE_SHA256": "0" * 64}, Reason.DIGEST),
        ({"GENAI_CACHE_MADE_WITH": json.dumps({"vllm": "0.1"})}, Reason.VERSIONS),
        ({"GENAI_CACHE_URL": "s3://nowhere/x.tar"}, Reason.FAILED),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
def test_every_miss_of_a_pod_is_one_of_the_reasons_that_the_metric_has(
    store, s3_server, homes, pod, monkeypatch, change, reason
):
    one, two = homes
    manifest = harvested(pod(one), store)

    said = _restore(monkeypatch, two, s3_server.env | pinned(manifest, store.bucket) | change)

    assert (said.hit, said.reason) == (False, reason)


def test_a_store_that_stalls_is_slow(s3_server, homes, listening_and_silent, monkeypatch):
    env = {"GENAI_CACHE_URL": "s3://b/k", "GENAI_CACHE_MADE_WITH": json.dumps(restoring.made_with())}
    env |= s3_server.env | {"AWS_ENDPOINT_URL": listening_and_silent}
    assert _restore(monkeypatch, homes[1], env, deadline_s=0.5).reason is Reason.SLOW


@pytest.fixture
def listening_and_silent():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _restore(monkeypatch, home, env, deadline_s=restoring.DEADLINE_S):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    done = restoring.restore(home, env, deadline_s)
    return Restored(Reason(done.reason), done.why, done.bytes, done.seconds, done.sha256)
