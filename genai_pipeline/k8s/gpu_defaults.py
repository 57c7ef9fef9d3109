"""What an engine with an NVIDIA GPU gets when the model file leaves it open, so that it starts fast. Pure.

The figures behind each default, and what was not measured, are in docs/gpu.md.
"""

from __future__ import annotations

from genai_pipeline.core.engine_flags import judging_table
from genai_pipeline.core.gpu_family import GpuFamily, family_of
from genai_pipeline.core.model_spec import Gpu, Serving
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.task import Task

VLLM_IMAGE = "vllm/vllm-openai"
"""Repository of vLLM's own image, from whatever registry."""
SERVER = ("python3", "-m", "vllm.entrypoints.openai.api_server")
"""vLLM's server by its module. `vllm serve` imports every other command of vLLM before it."""


def gpu_of(serving: Serving, profile: Profile) -> Gpu | None:
    """Return the GPU of an engine: what the model file asks for, else the one machine's, which every engine takes."""
    return serving.gpu or (Gpu.model_validate({}) if profile.engine_gpu_share else None)


def attention_backend(serving: Serving, task: Task, profile: Profile) -> str | None:
    """Return the attention backend, or None where vLLM chooses it.

    On Hopper and Ampere vLLM takes FLASH_ATTN by itself wherever the model allows it. By name it would be refused for
    models with another attention, as DeepSeek's, and for fp8 caches on Ampere. FlashInfer has no attention in both
    directions, as encoders need it. It compiles its kernels for minutes where the image holds none; vLLM's has them.
    Source: vllm/platforms/cuda.py, `_get_backend_priorities`; docker/Dockerfile, "flashinfer download-kernels".
    """
    if not task.generates or judging_table(serving.image) is None:
        return None
    return "FLASHINFER" if _family(serving, profile) == "ada" else None


def gpu_env(serving: Serving, profile: Profile) -> dict[str, str]:
    """Return the environment that makes vLLM start faster on an NVIDIA GPU."""
    gpu = gpu_of(serving, profile)
    if gpu is None or not gpu.is_nvidia:
        return {}
    # FlashInfer's sampler was compiled at the first start, and was not faster than vLLM's own.
    sampler = {"VLLM_USE_FLASHINFER_SAMPLER": "0"} if _family(serving, profile) == "hopper" else {}
    return sampler | {
        "VLLM_ENABLE_STARTUP_PLAN": "1",
        # Three of four starts from such an artefact stood still for 10 s, and it saves 4.5 s.
        "VLLM_USE_MEGA_AOT_ARTIFACT": "0",
    }


def engine_command(serving: Serving, profile: Profile) -> list[str]:
    """Return the command of the engine's container, or an empty list where the image's own entry point starts it.

    The module is there in the versions that the tables of arguments have; later ones may drop it. One machine has no
    images, so its cluster chooses the command.
    """
    repository = serving.image.partition("@")[0].rpartition(":")[0]
    ours = repository == VLLM_IMAGE or repository.endswith(f"/{VLLM_IMAGE}")
    return list(SERVER) if profile.name != "local" and ours and judging_table(serving.image) else []


def _family(serving: Serving, profile: Profile) -> GpuFamily | None:
    return family_of(gpu_of(serving, profile), profile.has_eks_nodes, profile.gpu_family)
