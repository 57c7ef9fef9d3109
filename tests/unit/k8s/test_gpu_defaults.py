"""What an engine with a GPU is told so that it starts fast, for which GPUs and images. The model file is stronger."""

from dataclasses import replace

import pytest

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.task import Task
from genai_pipeline.k8s.cache_pin import cache_place
from genai_pipeline.k8s.engine import engine_args, engine_env
from genai_pipeline.k8s.engine_cache import keeps_cache
from genai_pipeline.k8s.render import render_engine
from tests.fakes.model_texts import model_with_tools
from tests.unit.k8s.everything import PROFILES, release_of

EKS, KUBERNETES, LOCAL = PROFILES["eks"], PROFILES["kubernetes"], PROFILES["local"]
HOPPER, ADA = "gpu: {instance-family: p5}", "gpu: {instance-family: g6e}"
SAMPLER, PLAN, MEGA = "VLLM_USE_FLASHINFER_SAMPLER", "VLLM_ENABLE_STARTUP_PLAN", "VLLM_USE_MEGA_AOT_ARTIFACT"


def model(serving="", task=Task.CHAT):
    text = f"name: tiny\nsource: {{hub: a/b}}\ntask: {task}\nserving: {{{serving}}}\n"
    return model_with_tools(text, "f") if task is Task.CHAT else parse_model(text, "f")


def backend(serving, profile=EKS, task=Task.CHAT):
    spec = model(serving, task)
    given = [a for a in engine_args(spec.serving, release_of(spec), profile) if "attention" in a]
    return [a.removeprefix("--attention-backend=") for a in given]


def container(serving, profile):
    spec = model(serving)
    return render_engine(spec, release_of(spec), profile)[0]["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("serving", "means"),
    [
        ("", []),
        (ADA, ["FLASHINFER"]),
        (HOPPER, []),
        ("gpu: {instance-family: g5}", []),
        ("gpu: {instance-family: p6-b200}", []),
        (f"{ADA}, image: 'vllm/vllm-openai:v0.31.0'", []),
        (f"{ADA}, image: 'registry.example/engine@sha256:{'a' * 64}'", []),
        (f"{ADA}, image: 'registry.example/vllm/vllm-openai:v0.32.0'", ["FLASHINFER"]),
    ],
)
def test_flashinfer_is_the_default_on_ada_with_an_image_that_holds_its_kernels(serving, means):
    assert backend(serving) == means


@pytest.mark.parametrize(
    ("args", "means"),
    [
        ("attention-backend: TRITON_ATTN", ["TRITON_ATTN"]),
        ("attention_backend: TRITON_ATTN", ["TRITON_ATTN"]),
        ("attention-config: {backend: FLASH_ATTN}", ['--attention-config={"backend": "FLASH_ATTN"}']),
        ("attention-backend: false", []),
    ],
)
def test_the_model_file_has_the_last_word_on_attention(args, means):
    assert backend(f"{ADA}, args: {{{args}}}") == means


def test_where_nodes_are_the_clusters_own_the_family_comes_from_the_selector():
    assert backend("gpu: {selector: {nvidia.com/gpu.product: NVIDIA-L40S}}", KUBERNETES) == ["FLASHINFER"]
    assert backend("gpu: {instance-family: g6e}", KUBERNETES) == []
    assert backend("gpu: {}", replace(LOCAL, gpu_family="ada")) == ["FLASHINFER"]
    assert backend("gpu: {}", LOCAL) == []


@pytest.mark.parametrize("task", [Task.EMBED, Task.SCORE])
def test_a_model_that_generates_nothing_keeps_the_attention_that_vllm_chooses(task):
    assert backend(ADA, task=task) == []


@pytest.mark.parametrize("engine", ["vllm", "ray"])
@pytest.mark.parametrize(
    ("serving", "means"),
    [
        (HOPPER, {PLAN: "1", MEGA: "0", SAMPLER: "0"}),
        (ADA, {PLAN: "1", MEGA: "0"}),
        ("gpu: {resource: amd.com/gpu}", {}),
        ("resources: {cpu: 2}", {}),
        (f"{HOPPER}, env: {{{SAMPLER}: '1', {PLAN}: '0', {MEGA}: '1'}}", {PLAN: "0", MEGA: "1", SAMPLER: "1"}),
    ],
)
def test_variables_for_a_fast_start_are_for_nvidias_gpus_and_the_sampler_for_hopper(engine, serving, means):
    env = engine_env(model(f"engine: {engine}, {serving}").serving, EKS)

    assert {name: env[name] for name in (SAMPLER, PLAN, MEGA) if name in env} == means


def test_an_engine_of_one_machine_takes_its_gpu_also_without_a_word_of_the_model_file():
    machine = replace(LOCAL, engine_gpu_share=0.4, engine_threads=None, gpu_family="hopper")
    eager = model("args: {enforce-eager: true}")
    env = engine_env(eager.serving, machine)
    places = [cache_place(eager.serving, release_of(eager), profile) for profile in (LOCAL, machine)]

    assert {name: env.get(name) for name in (SAMPLER, PLAN, MEGA)} == {SAMPLER: "0", PLAN: "1", MEGA: "0"}
    assert env["GENAI_CACHE_FOR"] == "gpu"
    assert "OMP_NUM_THREADS" not in env
    assert [keeps_cache(eager.serving, profile) for profile in (LOCAL, machine)] == [False, True]
    assert places[0] != places[1]


@pytest.mark.parametrize("profile", [EKS, KUBERNETES], ids=["eks", "kubernetes"])
@pytest.mark.parametrize("image", ["vllm/vllm-openai:v0.32.1", "registry.example:5000/mirror/vllm/vllm-openai:v0.33.0"])
def test_vllms_own_image_starts_with_its_server_and_not_with_all_commands_of_vllm(image, profile):
    assert container(f"image: '{image}'", profile)["command"] == ["python3", "-m", "vllm.entrypoints.openai.api_server"]


@pytest.mark.parametrize(
    ("image", "profile"),
    [
        ("vllm/vllm-openai:v0.99.0", EKS),
        ("vllm/vllm-openai:latest", EKS),
        ("registry.example/not-vllm/vllm-openai-x:v0.33.0", EKS),
        ("registry.example/engine:v0.33.0", KUBERNETES),
        ("vllm/vllm-openai:v0.33.0", LOCAL),
    ],
)
def test_any_other_image_keeps_its_entry_point(image, profile):
    assert "command" not in container(f"image: '{image}'", profile)


def test_the_start_method_of_vllms_processes_is_a_choice_of_the_model_file():
    name = "VLLM_WORKER_MULTIPROC_METHOD"

    assert name not in engine_env(model(HOPPER).serving, EKS)
    assert engine_env(model(f"{HOPPER}, env: {{{name}: fork}}").serving, EKS)[name] == "fork"
