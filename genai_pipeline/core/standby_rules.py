"""What a model file with `standby: sleep` may not say, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from genai_pipeline.core.engine_args import Place
from genai_pipeline.core.model_spec import ModelSpec

_INSTEAD = "or leave `serving.standby` out"


def against_standby(spec: ModelSpec) -> Iterator[tuple[Place, str]]:
    """Yield what a model file says against an engine that sleeps, with the place and the remedy.

    Source: vLLM 0.32, `enable_sleep_mode` in vllm/config/model.py. On AMD's GPUs nothing was measured.
    """
    serving = spec.serving
    if serving.standby != "sleep":
        return
    place = ("serving", "standby")
    if serving.gpu is None or not serving.gpu.is_nvidia:
        yield (
            place,
            f"an engine sleeps to free an NVIDIA GPU, and this one has none. Set `serving.gpu` to one, {_INSTEAD}.",
        )
    if serving.engine != "vllm":
        yield place, f"replicas of Ray Serve do not sleep. Use `engine: vllm`, {_INSTEAD}."
    if serving.replicas.max > 1:
        yield place, f"one replica sleeps, and there may be {serving.replicas.max}. Set `replicas.max: 1`, {_INSTEAD}."
    if not spec.task.generates:
        yield place, f"after waking a known text is compared, and `task: {spec.task}` generates none. Remove it."
