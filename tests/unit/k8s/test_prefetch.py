"""`serving.weights: prefetch`: a volume in memory that the pod's limit bounds, and the same arguments as streaming."""

import os
import subprocess
import sys

import pytest

from genai_pipeline.core.engine_args import PREFETCH_PLUGIN
from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.k8s import prefetching
from genai_pipeline.k8s.prefetch import POD_FILES
from genai_pipeline.k8s.render import loaded_from, render_engine, weights_url
from tests.fakes.model_texts import model_with_tools
from tests.unit.k8s.everything import PREFETCHED, PROFILES, SMALL, release_of

EKS = PROFILES["eks"]


def pod_of(spec, profile=EKS):
    return render_engine(spec, release_of(spec), profile)[0]["spec"]["template"]["spec"]


def streaming(spec):
    return spec.model_copy(update={"serving": spec.serving.model_copy(update={"weights": "stream"})})


def env_of(pod):
    return {v["name"]: v.get("value") for v in pod["containers"][0]["env"] if v["name"].startswith("GENAI_PREFETCH")}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_script_that_copies_starts_the_engine_whatever_the_cluster(profile):
    container = pod_of(PREFETCHED, profile)["containers"][0]

    assert container["command"] == ["python3", "/etc/genai/genai_prefetching.py"]


def test_the_engine_has_the_arguments_of_streaming_so_that_its_address_tells_the_staged_revision():
    release = release_of(PREFETCHED)
    ours, streamed = (pod_of(spec)["containers"][0]["args"] for spec in (PREFETCHED, streaming(PREFETCHED)))

    assert [a for a in ours if "@" not in a] == [a for a in streamed if "@" not in a]
    assert f"--model={loaded_from(EKS, release)}" in ours
    assert loaded_from(EKS, release) == weights_url(EKS, release)


def test_the_copy_lies_in_memory_that_the_pod_requests():
    pod = pod_of(PREFETCHED)
    (volume,) = [v for v in pod["volumes"] if v["name"] == "prefetch"]
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "prefetch"]

    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "48Gi"}
    assert pod["containers"][0]["resources"]["requests"]["memory"] == "48Gi"
    assert mount["mountPath"] == env_of(pod)["GENAI_PREFETCH_FOLDER"]


def test_what_the_script_needs_to_know_is_in_its_environment():
    assert env_of(pod_of(PREFETCHED)) == {
        "GENAI_PREFETCH_FROM": f"s3://genai/models/prefetched/{'a' * 40}/",
        "GENAI_PREFETCH_FOLDER": "/mnt/prefetch",
        "GENAI_PREFETCH_READERS": "2",
        "GENAI_PREFETCH_KEEPS_FREE": str(7 * 2**30),
        "GENAI_PREFETCH_DEADLINE_S": "300",
    }


def test_vllm_finds_the_plugin_as_an_installed_distribution():
    template = render_engine(PREFETCHED, release_of(PREFETCHED), EKS)[0]["spec"]["template"]
    (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == "middleware"]
    paths = {item["path"] for item in volume["downwardAPI"]["items"]}

    assert {
        "genai_prefetching.py",
        "genai_prefetch_loader.py",
        "genai_prefetch-1.dist-info/METADATA",
        "genai_prefetch-1.dist-info/entry_points.txt",
    } <= paths
    assert (
        "genai_prefetch_loader:register" in template["metadata"]["annotations"]["genai-pipeline/prefetch-entry-points"]
    )


def test_streaming_has_none_of_it():
    assert "prefetch" not in str(pod_of(SMALL))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ("engine: ray", "serving.weights"),
        ("args: {load-format: runai_streamer_sharded}", "serving.args.load-format"),
        ("args: {load_format: modelexpress}", "serving.args.load_format"),
        ("env: {VLLM_PLUGINS: 'other,more'}", "serving.env.VLLM_PLUGINS"),
    ],
)
def test_what_cannot_be_prefetched_is_refused_in_the_model_file(fields, place):
    with pytest.raises(ModelFileError, match=place):
        parse_model(f"name: m\nsource: {{hub: a/b}}\nagent: none\nserving: {{weights: prefetch, {fields}}}\n", "f")


def test_plugins_that_name_the_pipelines_own_are_taken():
    fields = f"weights: prefetch, env: {{VLLM_PLUGINS: 'other,{PREFETCH_PLUGIN}'}}"
    (entry_points,) = (file.source for file in POD_FILES if file.name.endswith("entry_points.txt"))

    assert f"\n{PREFETCH_PLUGIN} = " in entry_points
    assert parse_model(f"name: m\nsource: {{hub: a/b}}\nagent: none\nserving: {{{fields}}}\n", "f")


@pytest.mark.parametrize("value", ["auto", "runai_streamer", "false"])
def test_the_load_formats_that_are_the_streamers_are_taken(value):
    text = f"name: m\nsource: {{hub: a/b}}\nserving: {{weights: prefetch, args: {{load-format: {value}}}}}\n"

    assert model_with_tools(text, "f").serving.weights == "prefetch"


LOADERS = """
registered = []
class BaseModelLoader: ...
def register_model_loader(name):
    return lambda loader: registered.append(name)
"""
ASK = """
import multiprocessing, sys
from genai_pipeline.k8s import prefetch_loader
from vllm.model_executor import model_loader
def loads():
    if sys.argv[1] == "spawn":
        prefetch_loader.register()
    print(model_loader.registered, flush=True)
if __name__ == "__main__":
    prefetch_loader.register()
    process = multiprocessing.get_context(sys.argv[1]).Process(target=loads)
    process.start()
    process.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_process_that_loads_has_the_loader_however_it_was_started(method, tmp_path):
    """vLLM asks a plugin once in each process, and never again in a forked one."""
    package = tmp_path / "vllm/model_executor/model_loader"
    package.mkdir(parents=True)
    for folder, text in ((tmp_path / "vllm", ""), (tmp_path / "vllm/model_executor", ""), (package, LOADERS)):
        (folder / "__init__.py").write_text(text)
    (tmp_path / "ask.py").write_text(ASK)
    env = os.environ | {"VLLM_WORKER_MULTIPROC_METHOD": method, "PYTHONPATH": f"{tmp_path}:{os.getcwd()}"}
    done = subprocess.run([sys.executable, "ask.py", method], cwd=tmp_path, env=env, capture_output=True, text=True)

    assert done.stdout.strip() == "['runai_streamer']", done.stderr


def test_what_was_said_first_about_a_copy_stays_so_that_all_processes_of_an_engine_do_the_same(tmp_path):
    assert prefetching.said(tmp_path) is None
    assert prefetching.decide(tmp_path, "no part came") == "no part came"
    assert prefetching.decide(tmp_path, "") == "no part came"
    assert prefetching.said(tmp_path) == "no part came"
