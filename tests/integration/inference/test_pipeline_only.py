"""What an engine answers to the pipeline only, in the server that vLLM has."""

import http.client
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import httpx
import pytest

from genai_pipeline.core import engine_paths
from genai_pipeline.k8s import pipeline_only, restoring
from genai_pipeline.k8s.engine import MIDDLEWARES, POD_FILES
from genai_pipeline.local.ports import free_port
from tests.fakes.demo_engines import wait_for

ENGINE = Path(__file__).parents[2] / "fakes" / "openai_server.py"
TOKEN = {engine_paths.TOKEN_HEADER: "right"}
COMPILED = {
    "cache/vllm/torch_compile_cache/torch_aot_compile/ab/rank_0_0/model": b"graph",
    "cache/vllm/startup_plan/startup_plan_ab.json": b"{}",
    "cache/triton/AB/kernel.so": b"\x7fELF",
    ".cache/flashinfer/0.6/90/cached_ops/.ninja_log": b"# ninja log v7\n",
}
NOT_COMPILED = {
    "cache/vllm/assets/model_streamer/ab/config.json": b"{}",
    "cache/vllm/torch_compile_cache/ab/x.lock": b"",
    ".cache/flashinfer/0.6/flashinfer_jit.log": b"ninja: ...",
    "config/vllm/usage_stats.json": b"{}",
    "genai.key": b"secret",
}


def write(home, files):
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)


class Pod:
    """A fake engine on uvicorn with the middlewares as a pod has them: files on PYTHONPATH."""

    def __init__(self, folder, token="right"):
        self.home = folder / "home"
        self.home.mkdir()
        for file in POD_FILES:
            (folder / file.name).write_text(file.source)
        self.address = f"127.0.0.1:{free_port()}"
        command = [sys.executable, str(ENGINE), "--port", self.address.partition(":")[2], "--served-model-name", "m"]
        command += [f"--middleware={m}" for m in MIDDLEWARES]
        env = {"PYTHONPATH": str(folder), "HOME": str(self.home), "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "1"}
        env |= {"GENAI_PIPELINE_TOKEN": token} if token else {}
        self.process = subprocess.Popen(command, env=os.environ | env)

    def get(self, path, headers=TOKEN, method="GET"):
        return httpx.request(method, f"http://{self.address}{path}", headers=headers, timeout=30, trust_env=False)

    def open(self, path):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        connection.request("GET", path, headers=TOKEN)
        return connection


@pytest.fixture
def start(tmp_path):
    running = []

    def start(**options):
        pod = Pod(tmp_path, **options)
        running.append(pod.process)
        wait_for(lambda: pod.get("/v1/models").is_success, 20)
        return pod

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def pod(start):
    return start()


def test_what_was_compiled_comes_whole_with_its_times_and_what_made_it_and_nothing_else(pod):
    write(pod.home, COMPILED | NOT_COMPILED)
    (pod.home / "cache/triton/linked").symlink_to(pod.home / "genai.key")
    (pod.home / "cache/inductor").symlink_to(pod.home / "config")
    old = pod.home / "cache/triton/AB/kernel.so"
    os.utime(old, (1_700_000_000.25, 1_700_000_000.25))

    answer = pod.get(engine_paths.CACHE_PATH)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-tar")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert json.loads(answer.headers[engine_paths.MADE_WITH_HEADER]) == restoring.made_with({})
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        found = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
        assert tar.getmember("cache/triton/AB/kernel.so").mtime == 1_700_000_000.25
    assert found == COMPILED


def test_an_engine_that_compiled_nothing_has_nothing_to_give(pod):
    write(pod.home, NOT_COMPILED)

    answer = pod.get(engine_paths.CACHE_PATH)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers[engine_paths.REASON_HEADER]


def test_how_the_restoring_went_is_told(pod):
    assert pod.get(engine_paths.RESTORED_PATH).status_code == 404

    write(pod.home, {restoring.SAID: b'{"reason": "hit"}'})

    assert pod.get(engine_paths.RESTORED_PATH).json() == {"reason": "hit"}


@pytest.mark.parametrize("path", [engine_paths.CACHE_PATH, engine_paths.RESTORED_PATH])
@pytest.mark.parametrize("headers", [{}, {engine_paths.TOKEN_HEADER: "wrong"}, {engine_paths.TOKEN_HEADER: ""}])
def test_without_the_token_the_paths_are_as_any_other_that_does_not_exist(start, path, headers):
    pod = start()
    write(pod.home, COMPILED | {restoring.SAID: b"{}"})

    refused, unknown = pod.get(path, headers), pod.get("/genai/other", headers)

    assert (refused.status_code, refused.content) == (unknown.status_code, unknown.content)
    assert refused.status_code == 404


def test_an_engine_without_a_token_answers_to_nobody(start):
    pod = start(token="")
    write(pod.home, COMPILED)

    assert pod.get(engine_paths.CACHE_PATH, {engine_paths.TOKEN_HEADER: ""}).status_code == 404


def test_one_archive_is_made_at_a_time_and_a_client_that_leaves_frees_it(pod):
    (pod.home / "cache/triton").mkdir(parents=True)
    with (pod.home / "cache/triton/large").open("wb") as file:
        file.truncate(300 * 2**20)
    first = pod.open(engine_paths.CACHE_PATH)
    assert first.getresponse().status == 200

    assert pod.get(engine_paths.CACHE_PATH).status_code == 409
    first.close()

    wait_for(lambda: pod.get(engine_paths.CACHE_PATH).status_code == 200, 20)
    assert sorted(p.name for p in pod.home.iterdir()) == ["cache"]


def test_packing_is_no_request_that_a_drain_waits_for_and_its_connection_ends_with_the_pods(pod):
    (pod.home / "cache/triton").mkdir(parents=True)
    with (pod.home / "cache/triton/large").open("wb") as file:
        file.truncate(300 * 2**20)
    packing = pod.open(engine_paths.CACHE_PATH)
    packing.getresponse()

    said = pod.get("/drain").json()

    assert said["running"] == []
    assert pod.get(engine_paths.RESTORED_PATH).headers["connection"] == "close"
    packing.close()


def test_more_than_the_bound_is_not_sent(tmp_path):
    write(tmp_path, {"cache/triton/a": b"x" * 800, "cache/triton/b": b"x" * 800})

    packed = pipeline_only.pack(tmp_path, threading.Event(), most_bytes=1000)

    assert (packed.status, packed.file) == (204, None)
    assert "1000 bytes" in packed.why


def test_a_full_disk_is_said_and_ends_nothing(tmp_path):
    packed = pipeline_only.pack(tmp_path / "absent", threading.Event())

    assert (packed.status, packed.file) == (503, None)
