"""What an engine is told when the model file leaves it open, and what it is never told."""

import json
from dataclasses import replace

import pytest

from genai_pipeline.core.errors import ModelFileError, Refused
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.task import Task
from genai_pipeline.k8s import engine
from genai_pipeline.k8s.render import render_engine
from tests.fakes.model_texts import model_with_tools
from tests.unit.k8s.everything import PROFILES, everything, release_of
from tests.unit.k8s.policies import strings

EKS, KUBERNETES = PROFILES["eks"], PROFILES["kubernetes"]


def model(serving="{}", task=Task.CHAT):
    text = f"name: tiny\nsource: {{hub: a/b}}\ntask: {task}\nserving: {serving}\n"
    return model_with_tools(text, "f") if task is Task.CHAT else parse_model(text, "f")


def args_of(serving, profile=EKS, task=Task.CHAT):
    spec = model(serving, task)
    return engine.engine_args(spec.serving, release_of(spec), profile)


def flags(arguments, name):
    return [a for a in arguments if a == f"--{name}" or a.startswith(f"--{name}=")]


def test_weights_are_streamed_unless_the_model_file_says_otherwise():
    assert flags(args_of("{}"), "load-format") == ["--load-format=runai_streamer"]
    assert flags(args_of("{args: {load-format: runai_streamer_sharded}}"), "load-format") == [
        "--load-format=runai_streamer_sharded"
    ]


@pytest.mark.parametrize("task", [Task.EMBED, Task.SCORE])
def test_what_generates_nothing_has_the_runner_that_pools_and_the_attention_that_vllm_chooses(task):
    arguments = args_of("{gpu: {}}", task=task)

    assert flags(arguments, "runner") == ["--runner=pooling"]
    assert flags(arguments, "attention-backend") == []
    assert flags(args_of("{args: {runner: pooling}}", task=task), "runner") == ["--runner=pooling"]
    said = args_of("{gpu: {}, args: {attention-backend: TRITON_ATTN}}", task=task)
    assert flags(said, "attention-backend") == ["--attention-backend=TRITON_ATTN"]


@pytest.mark.parametrize("task", [Task.CHAT, Task.COMPLETION])
def test_the_runner_of_what_generates_is_left_to_vllm(task):
    assert flags(args_of("{}", task=task), "runner") == []


@pytest.mark.parametrize(
    ("serving", "dtype"),
    [
        ("{}", ["--dtype=float32"]),
        ("{args: {dtype: bfloat16}}", ["--dtype=bfloat16"]),
        ("{args: {dtype: false}}", []),
        ("{gpu: {}}", []),
    ],
)
def test_the_profiles_dtype_is_the_default_where_there_is_no_gpu(serving, dtype):
    assert flags(args_of(serving, replace(PROFILES["local"], engine_dtype="float32")), "dtype") == dtype
    assert flags(args_of("{}"), "dtype") == []


def test_engines_without_a_gpu_compute_in_one_process_on_the_profiles_threads():
    local = replace(PROFILES["local"], engine_threads=3)
    one_process = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "3"}

    assert one_process.items() <= engine.engine_env(model().serving, local).items()
    assert not one_process.keys() & engine.engine_env(model("{gpu: {}}").serving, local).keys()
    said = engine.engine_env(model('{env: {OMP_NUM_THREADS: "1"}}').serving, local)
    assert said["OMP_NUM_THREADS"] == "1"


def test_engines_of_one_node_are_bound_to_no_cores_and_take_the_threads_that_they_ask_for():
    engines_of_a_pod = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "6"}

    assert engines_of_a_pod.items() <= engine.engine_env(model("{resources: {cpu: 6.5}}").serving, EKS).items()
    assert engine.engine_env(model("{resources: {cpu: 0.5}}").serving, EKS)["OMP_NUM_THREADS"] == "1"
    assert not engines_of_a_pod.keys() & engine.engine_env(model("{gpu: {}}").serving, EKS).keys()


def test_no_flag_is_given_twice():
    arguments = args_of("{gpu: {}, args: {shutdown_timeout: 90, load_format: auto, attention_backend: X}}")
    names = [a.split("=")[0].replace("_", "-") for a in arguments if a.startswith("--") and "middleware" not in a]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("serving", "drain"),
    [
        ("{}", 30),
        ("{args: {shutdown-timeout: 90}}", 90),
        ("{args: {shutdown_timeout: '90'}}", 90),
        ("{args: {shutdown-timeout: false}}", 0),
    ],
)
def test_the_grace_follows_the_drain(serving, drain):
    serving = model(serving).serving

    assert engine.grace_s(serving) == 5 + drain + engine.TEARDOWN_S


@pytest.mark.parametrize(
    ("serving", "sizes"),
    [
        ("{gpu: {count: 1}}", []),
        ("{gpu: {count: 4}}", ["--tensor-parallel-size=4"]),
        ("{gpu: {count: 4}, args: {tensor_parallel_size: 4}}", ["--tensor-parallel-size=4"]),
        ("{gpu: {count: 4}, args: {pipeline-parallel-size: 4}}", []),
    ],
)
def test_an_engine_uses_every_gpu_of_its_replica(serving, sizes):
    assert flags(args_of(serving), "tensor-parallel-size") == sizes


def test_an_engine_of_parallel_replicas_has_one_api_server_because_one_is_drained():
    serving = "{gpu: {count: 2}, args: {data-parallel-size: 2}}"

    assert flags(args_of(serving), "api-server-count") == ["--api-server-count=1"]
    assert flags(args_of("{}"), "api-server-count") == []


def test_further_names_are_served_after_our_own():
    arguments = args_of("{served_names: [gpt-4o, org/chat]}")
    at = arguments.index("--served-model-name")

    assert arguments[at + 1] == "tiny"
    assert arguments[at + 2].startswith("tiny@")
    assert arguments[at + 3 : at + 5] == ["gpt-4o", "org/chat"]
    assert arguments[at + 5].startswith("--")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_engine_drains_and_ends_its_kept_connections(profile):
    arguments = args_of("{}", profile)

    assert flags(arguments, "shutdown-timeout") == ["--shutdown-timeout=30"]
    middlewares = ["genai_pipeline_only.PipelineOnly", "genai_leaving.Leaving"]
    assert flags(arguments, "middleware") == [f"--middleware={name}" for name in middlewares]
    assert engine.engine_env(model().serving, profile)["PYTHONPATH"] == engine.MIDDLEWARE_FOLDER


def test_the_streamers_buffer_fits_the_pods_memory():
    env = engine.engine_env(model("{resources: {memory_gib: 8}}").serving, EKS)

    assert int(env["RUNAI_STREAMER_MEMORY_LIMIT"]) == 4 * 2**30
    assert engine.limits(model("{resources: {memory_gib: 8}}").serving)["memory"] == "10240Mi"


def test_an_endpoint_of_ones_own_reaches_the_streamer_and_awss_own_does_not():
    serving = model().serving

    assert engine.engine_env(serving, KUBERNETES)["AWS_ENDPOINT_URL"] == "http://s3.store.svc:9000"
    assert "AWS_ENDPOINT_URL" not in engine.engine_env(serving, EKS)


def test_engines_ask_only_amazon_for_checksums_unless_the_model_file_says_so():
    name = "AWS_RESPONSE_CHECKSUM_VALIDATION"
    kubernetes = replace(KUBERNETES, s3_endpoint="http://s3.store.svc:9000")

    assert engine.engine_env(model().serving, kubernetes)[name] == "when_required"
    assert name not in engine.engine_env(model().serving, replace(EKS, s3_endpoint=None))
    said = engine.engine_env(model(f"{{env: {{{name}: when_supported}}}}").serving, kubernetes)
    assert said[name] == "when_supported"


@pytest.mark.parametrize("engine", ["vllm", "ray"])
def test_a_secret_reaches_the_engine_by_its_name_alone(engine):
    reference = {"secretKeyRef": {"name": "cache", "key": "password"}}
    spec = model(f"{{engine: {engine}, env: {{CACHE_PASSWORD: {json.dumps(reference)}, A: b}}}}")

    said = [o for o in render_engine(spec, release_of(spec), EKS) if "CACHE_PASSWORD" in json.dumps(o)]

    assert said
    for found in variables_in(said):
        assert {"name": "CACHE_PASSWORD", "valueFrom": reference} in found
        assert {"name": "A", "value": "b"} in found


def variables_in(tree):
    """Each list of variables of an engine, however deep."""
    if isinstance(tree, dict):
        found = tree.get("env")
        if isinstance(found, list) and any(variable["name"] == "CACHE_PASSWORD" for variable in found):
            yield found
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from variables_in(part)


def test_the_model_file_has_the_last_word_on_the_environment_and_no_name_comes_twice():
    spec = model("{env: {HOME: /tmp/mine, VLLM_NO_USAGE_STATS: '0'}}")
    variables = render_engine(spec, release_of(spec), EKS)[0]["spec"]["template"]["spec"]["containers"][0]["env"]
    values = {v["name"]: v.get("value") for v in variables}

    assert (values["HOME"], values["VLLM_NO_USAGE_STATS"]) == ("/tmp/mine", "0")
    assert len(values) == len(variables)


@pytest.mark.parametrize(
    "env",
    [
        "{HF_TOKEN: x}",
        "{HUGGING_FACE_HUB_TOKEN: x}",
        "{AWS_SECRET_ACCESS_KEY: x}",
        "{AWS_ACCESS_KEY_ID: x}",
        "{OPENAI_API_KEY: x}",
        "{DB_PASSWORD: x}",
        "{HARMLESS: hf_abcdefghijklmnopqrstuvwxyz}",
        "{HARMLESS: 'id AKIAABCDEFGHIJKLMNOP'}",
    ],
)
def test_a_credential_in_a_model_file_is_refused_by_name_and_not_shown(env):
    name, value = env.strip("{}").split(": ")
    with pytest.raises(ModelFileError, match=rf"f:\d+: serving.env.{name}: looks like a credential") as in_file:
        model(f"{{env: {env}}}")
    spec = model()
    of_an_earlier_version = spec.serving.model_copy(update={"env": {name: value.strip("'")}})
    with pytest.raises(Refused, match=f"serving.env.{name} looks like a credential") as in_record:
        render_engine(spec.model_copy(update={"serving": of_an_earlier_version}), release_of(spec), EKS)

    assert not [one for one in (in_file, in_record) if len(value) >= 5 and value in str(one.value)]


@pytest.mark.parametrize("name", ["VLLM_MAX_TOKENS", "TOKENIZERS_PARALLELISM", "VLLM_KEYS", "MONKEY"])
def test_a_variable_that_only_sounds_like_one_is_taken(name):
    assert engine.engine_env(model(f"{{env: {{{name}: 'x'}}}}").serving, EKS)[name] == "x"


def test_what_the_environment_holds_in_secret_is_in_no_rendered_object(monkeypatch):
    secrets = {
        "HF_TOKEN": "hf_" + "s" * 30,
        "HUGGING_FACE_HUB_TOKEN": "hub-token-of-this-test",
        "AWS_ACCESS_KEY_ID": "key-id-of-this-test",
        "AWS_SECRET_ACCESS_KEY": "secret-key-of-this-test",
        "AWS_SESSION_TOKEN": "session-of-this-test",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)

    for profile in PROFILES.values():
        text = json.dumps(everything(profile))
        assert not [name for name, value in secrets.items() if value in text]


def test_a_secret_that_did_get_in_would_be_seen():
    assert "hub-token" in json.dumps([{"env": [{"value": "hub-token"}]}])
    assert "hub-token" in set(strings([{"env": [{"value": "hub-token"}]}]))


@pytest.mark.parametrize("gpu", ["", ", gpu: {}"])
def test_releases_that_share_the_gpu_of_one_machine_take_a_part_of_its_memory_each(gpu):
    shared = replace(PROFILES["local"], engine_gpu_share=0.4)

    assert flags(args_of(f"{{args: {{}}{gpu}}}", shared), "gpu-memory-utilization") == ["--gpu-memory-utilization=0.4"]
    said = args_of(f"{{args: {{gpu_memory_utilization: 0.9}}{gpu}}}", shared)
    assert flags(said, "gpu-memory-utilization") == ["--gpu-memory-utilization=0.9"]
    assert "OMP_NUM_THREADS" not in engine.engine_env(model(f"{{args: {{}}{gpu}}}").serving, shared)


def test_a_gpu_of_a_cluster_is_the_engines_own():
    assert flags(args_of("{gpu: {}}"), "gpu-memory-utilization") == []
