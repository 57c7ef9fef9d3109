"""`serving.weights: prefetch`: the files of an engine's pod as they run there, on a real S3 and with a real vLLM."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.release import Release
from genai_pipeline.k8s import prefetch_loader, prefetching
from genai_pipeline.k8s.render import render_engine
from genai_pipeline.local.ports import free_port
from genai_pipeline.staging.stager import Stager
from tests.fakes.demo_engines import DEMO, ENV, READY_IN_S, wait_for
from tests.fakes.stage_once import PART, files
from tests.fakes.world import PROFILE, FakeHub

TOOLS = "enable-auto-tool-choice: true, tool-call-parser: mistral"
ARGS = f"{{max-model-len: 2048, enforce-eager: true, dtype: float32, {TOOLS}}}"
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}
PLACE = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
TOOL = {"name": "get_weather", "description": "Get the weather of a place.", "parameters": PLACE}


class Pod:
    """An engine's pod as it is rendered, its files in a folder of this machine."""

    def __init__(self, folder, s3_server, store, revision):
        text = f"name: tiny\nsource: {{hub: a/b}}\nserving: {{weights: prefetch, args: {ARGS}}}\n"
        spec = parse_model(text, "f")
        template = render_engine(spec, Release.of(spec, revision), PROFILE)[0]["spec"]["template"]
        (self.container,) = template["spec"]["containers"]
        self.folder, self.weights = folder, folder / "prefetch"
        self.weights.mkdir()
        notes = template["metadata"]["annotations"]
        (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == "middleware"]
        for item in volume["downwardAPI"]["items"]:
            path = folder / item["path"]
            path.parent.mkdir(exist_ok=True)
            path.write_text(notes[item["fieldRef"]["fieldPath"].split("'")[1]])
        given = {v["name"]: v["value"] for v in self.container["env"] if "value" in v}
        kept = {k: self.local(v) for k, v in given.items() if k.startswith("GENAI_PREFETCH_")}
        kept["GENAI_PREFETCH_FROM"] = f"s3://{store.bucket}/models/tiny/{revision}/"
        self.env = os.environ | s3_server.env | kept | {"PYTHONPATH": str(folder)}
        self.env |= {"RUNAI_STREAMER_S3_ENDPOINT": s3_server.endpoint, "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0"}

    def local(self, text):
        return text.replace("/mnt/prefetch", str(self.weights)).replace("/etc/genai", str(self.folder))

    def copy(self, **env):
        """Run the copier. Returns: What it printed."""
        command = [sys.executable, str(self.folder / "genai_prefetching.py"), "copy"]
        (self.weights / prefetching.BEAT).touch()
        done = subprocess.run(command, env=self.env | env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def copied(self):
        return {p.name: p.read_bytes() for p in (self.weights / prefetching.WEIGHTS).glob("*")}

    def loaded(self, **env):
        return prefetch_loader.arrived(self.env["GENAI_PREFETCH_FROM"], self.env | env)


@pytest.fixture
def pod(tmp_path, s3_server, store):
    hub = FakeHub()
    revision = hub.publish("v1", files=files("v1"))
    Stager(hub, store, PART).stage("tiny", hub.snapshot("owner/tiny", revision))
    return Pod(tmp_path, s3_server, store, revision)


def test_the_weights_are_copied_and_nothing_else_and_the_loader_finds_them(pod):
    printed = pod.copy()

    assert "copied 0.03 GB" in printed
    assert pod.copied == {name: body for name, body in files("v1").items() if name.endswith(".safetensors")}
    assert pod.loaded() == pod.weights / prefetching.WEIGHTS


def test_other_weights_and_a_second_load_of_a_process_are_streamed_and_the_last_reader_frees_the_memory(pod):
    pod.copy()
    of_a_draft = prefetch_loader.arrived("s3://other/", pod.env)
    two_readers = pod.env | {"GENAI_PREFETCH_READERS": "2"}
    prefetch_loader.release_memory(two_readers)
    left_for_the_other = bool(pod.copied)
    (pod.weights / "used-by-another").touch()
    removing = prefetch_loader.release_memory(two_readers)
    assert removing
    removing.join(10)

    assert of_a_draft is None
    assert left_for_the_other
    assert not pod.copied
    assert pod.loaded() is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"GENAI_PREFETCH_KEEPS_FREE": str(2**60)}, "there is room for 0"),
        ({"GENAI_PREFETCH_FROM": "s3://absent/models/tiny/r/"}, "NoSuchBucket"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "EndpointConnectionError"),
    ],
)
def test_a_copy_that_cannot_be_made_is_given_up_with_its_reason(pod, changed, why):
    printed = pod.copy(**changed)

    assert why in printed
    assert why in prefetching.said(pod.weights)
    assert pod.loaded() is None
    assert not pod.copied


@pytest.mark.parametrize("change", ["gone", "other"])
def test_an_object_that_is_not_the_staged_one_is_not_taken(pod, store, change):
    key = pod.env["GENAI_PREFETCH_FROM"].removeprefix(f"s3://{store.bucket}/") + "model-2.safetensors"
    store.delete(key)
    if change == "other":
        store.put(key, b"x" * len(files("v1")["model-2.safetensors"]))

    assert ("NoSuchKey" if change == "gone" else "PreconditionFailed") in pod.copy()
    assert pod.loaded() is None
    assert not pod.copied
    assert not (pod.weights / prefetching.WORK).exists()


def test_a_copy_that_does_not_go_on_is_given_up_by_the_loader_for_all_processes(pod):
    beat = pod.weights / prefetching.BEAT
    beat.touch()
    os.utime(beat, (1, 1))

    assert pod.loaded() is None
    assert "no part came" in prefetching.said(pod.weights)
    assert "no part came" in pod.copy()
    assert pod.loaded() is None
    assert not pod.copied


def test_a_copy_that_takes_longer_than_a_start_may_is_given_up(pod):
    (pod.weights / prefetching.BEAT).touch()

    assert pod.loaded(GENAI_PREFETCH_DEADLINE_S="0") is None
    assert "took too long" in prefetching.said(pod.weights)


def test_a_volume_that_is_not_there_means_streaming(pod):
    assert pod.loaded(GENAI_PREFETCH_FOLDER="/nonexistent") is None


def answer_of(pod, log):
    """Start vLLM as the pod does. Returns: The demo model's answer, and where the engine says it was loaded from."""
    port = free_port()
    owned = ("--model", "--host", "--port", "--middleware")
    args = [a for a in pod.container["args"] if not a.startswith(owned)]
    args += [f"--model={pod.env['GENAI_PREFETCH_FROM']}", "--host=127.0.0.1", f"--port={port}"]
    command = [sys.executable, *map(pod.local, pod.container["command"][1:])]
    env = pod.env | ENV | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "VLLM_CACHE_ROOT": str(pod.folder / "cache")}
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *args], env=env, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        wait_for(
            lambda: process.poll() is not None or httpx.get(f"{url}/models", trust_env=False).is_success, READY_IN_S
        )
        root = httpx.get(f"{url}/models", trust_env=False).json()["data"][0]["root"]
        asked = {
            "model": "tiny",
            "temperature": 0,
            "messages": [QUESTION],
            "tools": [{"type": "function", "function": TOOL}],
        }
        answer = httpx.post(f"{url}/chat/completions", json=asked, timeout=60, trust_env=False).json()
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        return call["function"], root
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.long
def test_an_engine_answers_the_same_from_memory_and_where_the_copy_fails(tmp_path, s3_server, store):
    hub = FakeHub()
    revision = hub.publish("demo", files={p.name: p.read_bytes() for p in Path(DEMO).iterdir() if p.is_file()})
    Stager(hub, store, PART).stage("tiny", hub.snapshot("owner/tiny", revision))
    answers = []
    for name in ("whole", "without"):
        (tmp_path / name).mkdir()
        pod = Pod(tmp_path / name, s3_server, store, revision)
        if name == "without":
            store.delete(f"models/tiny/{revision}/manifest.json")
        answers.append(answer_of(pod, tmp_path / f"{name}.log"))
        assert not pod.copied
    logs = [(tmp_path / f"{name}.log").read_text() for name in ("whole", "without")]

    assert answers[0] == answers[1]
    assert answers[0][0] == {"name": "get_weather", "arguments": '{"location": "Paris"}'}
    assert answers[0][1] == f"s3://{store.bucket}/models/tiny/{revision}/"
    assert ["loaded from memory" in log for log in logs] == [True, False]
    assert "the weights are streamed from S3: NoSuchKey" in logs[1]
