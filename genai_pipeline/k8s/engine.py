"""One release's engine: vLLM's command line, its environment, its share of a node. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from genai_pipeline.core.credentials import REMEDY, WHY, variable_is_secret
from genai_pipeline.core.engine_args import (
    EXECUTOR,
    TENSOR_PARALLEL,
    command_line,
    executor_backend,
    given,
    tensor_parallel_size,
)
from genai_pipeline.core.engine_flags import spelt
from genai_pipeline.core.env_value import EnvValue
from genai_pipeline.core.errors import Refused
from genai_pipeline.core.loader import DEFAULT_LOAD_FORMAT
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.model_spec import Serving
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.core.task import Task
from genai_pipeline.k8s.gpu_defaults import attention_backend, gpu_env, gpu_of
from genai_pipeline.k8s.placement import gpu_resources
from genai_pipeline.k8s.standby_pod import SLEEPING_MIDDLEWARE, may_sleep, standby_env
from genai_pipeline.k8s.templating import STOP_DELAY_S, bind_address

ENGINE_PORT = 8000
DRAIN_S = 30
"""How long a stopping engine finishes what it runs. vLLM's own default is 0: SIGTERM aborts every request."""
TEARDOWN_S = 15
"""From the last answer to the end of vLLM's processes."""
MIDDLEWARES = ("genai_pipeline_only.PipelineOnly", "genai_leaving.Leaving")
"""Of vLLM's server, the innermost first: a draining pod closes the connections of the pipeline, too."""
MIDDLEWARE_FOLDER = "/etc/genai"
OWN_IMAGES = "genai-pipeline/"
MOUNTED = "/mnt/weights"
"""Where the weights lie that are mounted and not streamed."""
LIMIT_OVER_REQUEST = 1.25
"""Loading peaks above serving; a limit at the request would end an engine that fits."""

GIB = 2**30


def weights_url(profile: Profile, release: Release) -> str:
    """Return the prefix of the staged model, with its trailing slash."""
    return f"s3://{profile.bucket}/{staged_prefix(release.model, release.revision)}"


def loaded_from(profile: Profile, release: Release) -> str:
    """Return what the engine loads and `/v1/models` shows: that prefix, or the folder where it is mounted."""
    return MOUNTED if release.mounts_weights else weights_url(profile, release)


def release_alias(release: Release) -> str:
    """Return the second model name, which only this release serves. It shows who answered at a stable address."""
    return f"{release.model}@{release.id}"


def engine_args(serving: Serving, release: Release, profile: Profile) -> list[str]:
    """Return vLLM's command line: what the pipeline owns, then defaults and the model file's args by name."""
    around = (*MIDDLEWARES, *([SLEEPING_MIDDLEWARE] if may_sleep(serving) else []))
    server = [f"--host={bind_address(profile)}", f"--port={ENGINE_PORT}", *(f"--middleware={m}" for m in around)]
    return [*_names(serving, release, profile), *server, *compiled_args(serving, release, profile)]


def replica_args(serving: Serving, release: Release, profile: Profile) -> list[str]:
    """Return the command line of an engine within Ray Serve, whose proxies listen and drain in its place."""
    return [*_names(serving, release, profile), *compiled_args(serving, release, profile)]


def image_of(serving: Serving, profile: Profile) -> str:
    """Return the image of the engine: one that this repository makes comes from the installation's own registry."""
    return f"{profile.image_registry if serving.image.startswith(OWN_IMAGES) else ''}{serving.image}"


def refuse_unmountable(serving: Serving, profile: Profile) -> None:
    """Raises: Refused: the weights are to be mounted where they cannot be."""
    if serving.weights != "mount":
        return
    if profile.name == "local":
        raise Refused("One machine has no CSI driver that mounts weights.", "Set serving.weights to stream.")
    if not profile.weights_mount:
        raise Refused(
            "serving.weights: mount needs PersistentVolumes, which the pipeline may not make here.",
            "Set GENAI_WEIGHTS_MOUNT=true and apply `genai render --rbac` again, or set serving.weights to stream.",
        )


def _names(serving: Serving, release: Release, profile: Profile) -> list[str]:
    named = ["--served-model-name", release.model, release_alias(release), *serving.served_names]
    return [f"--model={loaded_from(profile, release)}", *named]


def compiled_args(serving: Serving, release: Release, profile: Profile) -> list[str]:
    """Return the part of the command line that decides what the engine compiles: all but names and addresses."""
    return command_line(_default_args(serving, release.task, profile) | serving.args, serving.image)


@dataclass(frozen=True)
class PodFile:
    """A file of this package that an engine's pod gets. An annotation brings it, since the image holds no package.

    Args:
        annotation: name of the annotation, after `genai-pipeline/`.
        name: name of the file in the pod.
        module: name of the file in this package.
    """

    annotation: str
    name: str
    module: str

    @property
    def source(self) -> str:
        return _source(self.module)


@cache
def _source(module: str) -> str:
    return (Path(__file__).parent / module).read_text()


POD_FILES = (
    PodFile("leaving", "genai_leaving.py", "leaving.py"),
    PodFile("pipeline-only", "genai_pipeline_only.py", "pipeline_only.py"),
    PodFile("restoring", "genai_restoring.py", "restoring.py"),
)
SLEEPING = PodFile("sleeping", "genai_sleeping.py", "sleeping.py")


def drain_s(serving: Serving) -> int:
    """Return how many seconds a stopping engine gives to the requests that it runs."""
    said = given(serving, "shutdown-timeout")
    return int(said) if isinstance(said, int) or str(said).isdigit() else DRAIN_S


def grace_s(serving: Serving) -> int:
    """Return the seconds from the order to stop to SIGKILL. Stop delay, drain and teardown must fit."""
    return STOP_DELAY_S + drain_s(serving) + TEARDOWN_S


def engine_env(serving: Serving, profile: Profile) -> dict[str, EnvValue]:
    """Environment of the engine, the model file's own variables last.

    Raises: Refused: a variable of the model file looks like a credential.
    """
    _refuse_secrets(serving.env)
    ours = {"PYTHONPATH": MIDDLEWARE_FOLDER, "GENAI_CACHE_FOR": "gpu" if gpu_of(serving, profile) else "cpu"}
    ours |= _threads(serving, profile) | standby_env(serving)
    return _caches() | _store(serving, profile) | gpu_env(serving, profile) | ours | serving.env


def requests(serving: Serving) -> dict[str, str]:
    asked = {"cpu": f"{serving.resources.cpu:g}", "memory": f"{serving.resources.memory_gib:g}Gi"}
    return asked | gpu_resources(serving.gpu)


def limits(serving: Serving) -> dict[str, str]:
    """Limit memory and GPUs, but not the CPU: throttling would cost tokens and save nothing."""
    return {"memory": f"{round(serving.resources.memory_gib * LIMIT_OVER_REQUEST * 1024)}Mi"} | gpu_resources(
        serving.gpu
    )


def shared_memory_gib(serving: Serving) -> int:
    """/dev/shm, through which the workers of one engine talk. Counts against the memory limit as far as used."""
    return 2 * (serving.gpu.count if serving.gpu else 1)


def _default_args(serving: Serving, task: Task, profile: Profile) -> dict[str, Any]:
    defaults: dict[str, Any] = {"load-format": DEFAULT_LOAD_FORMAT, "shutdown-timeout": DRAIN_S}
    if may_sleep(serving):
        defaults["enable-sleep-mode"] = True
    if serving.weights == "mount":  # a folder: vLLM's own loader reads it
        del defaults["load-format"]
    if backend := executor_backend(serving):
        defaults[EXECUTOR] = backend
    if not task.generates:
        defaults["runner"] = "pooling"
    if backend := attention_backend(serving, task, profile):
        defaults["attention-backend"] = backend
    if not serving.gpu and profile.engine_dtype:
        defaults["dtype"] = profile.engine_dtype
    if profile.engine_gpu_share:
        defaults["gpu-memory-utilization"] = profile.engine_gpu_share
    if size := tensor_parallel_size(serving):
        defaults[TENSOR_PARALLEL] = size
    if str(given(serving, "data-parallel-size") or 1) != "1":
        # vLLM starts an API server for each part, and the stop hook drains the one that it reaches.
        defaults["api-server-count"] = 1
    said = {spelt(name).partition(".")[0] for name in serving.args}
    if "attention-config" in said:  # vLLM takes the backend from one of the two only
        said.add("attention-backend")
    return {name: value for name, value in defaults.items() if name not in said}


def _caches() -> dict[str, str]:
    """The root file system is read-only and the user has no home: everything is below /tmp."""
    return {
        "HOME": "/tmp",
        "USER": "vllm",  # torch asks for a name, and the image may know none for this user id
        "XDG_CACHE_HOME": "/tmp/cache",
        "XDG_CONFIG_HOME": "/tmp/config",
        "VLLM_CACHE_ROOT": "/tmp/cache/vllm",
        "VLLM_CONFIG_ROOT": "/tmp/config/vllm",
        "TRITON_CACHE_DIR": "/tmp/cache/triton",
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/cache/inductor",
        "FLASHINFER_WORKSPACE_BASE": "/tmp",
        "VLLM_NO_USAGE_STATS": "1",
        # Weights come from the staged model only; a look at the hub would be a look past the manifest.
        "HF_HUB_OFFLINE": "1",
    }


def _store(serving: Serving, profile: Profile) -> dict[str, str]:
    own = {
        "AWS_REGION": profile.region,
        # The streamer's own default is 40 GB, which a pod with less would be killed for.
        "RUNAI_STREAMER_MEMORY_LIMIT": str(int(serving.resources.memory_gib * GIB / 2)),
    }
    if profile.pods_s3_endpoint is None:
        return own
    return own | {
        "AWS_ENDPOINT_URL": profile.pods_s3_endpoint,
        "RUNAI_STREAMER_S3_ENDPOINT": profile.pods_s3_endpoint,
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
        "AWS_EC2_METADATA_DISABLED": "true",
        # Backblaze B2 and older servers refuse the `x-amz-checksum-mode` that boto3 and the streamer ask with.
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


def _threads(serving: Serving, profile: Profile) -> dict[str, str]:
    """Return how an engine without a GPU computes: in its scheduler's process, on as many threads as it has cores.

    By itself vLLM binds each engine of a node to the same cores, so that a candidate would compute on those of the live
    release. Source: vLLM documentation, "CPU - Runtime environment variables".
    """
    if gpu_of(serving, profile):
        return {}
    threads = profile.engine_threads or max(1, int(serving.resources.cpu))
    unbound = {} if profile.engine_threads else {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    # vLLM 0.32 cannot load the artefact that it writes for a processor ("no attribute 'finalize_loading'"), and would
    # compile again at each start. Inductor's own cache has all of it.
    artefact = {"VLLM_USE_AOT_COMPILE": "0"}
    return {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": str(threads), **artefact, **unbound}


def _refuse_secrets(env: Mapping[str, EnvValue]) -> None:
    """Refuse what a model file of an earlier version may still hold: `parse_model` takes no such file."""
    for name, value in env.items():
        if isinstance(value, str) and variable_is_secret(name, value):
            raise Refused(f"serving.env.{name} {WHY}.", REMEDY)
