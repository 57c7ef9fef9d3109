"""What a model file may not say where the cluster is one machine (`GENAI_PROFILE=local`), and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from genai_pipeline.core.engine_args import Place
from genai_pipeline.core.model_spec import ModelSpec


def against_one_machine(spec: ModelSpec) -> Iterator[tuple[Place, str]]:
    """Yield what one machine cannot do, with the place and the remedy. Its cluster would refuse the objects."""
    serving, replicas = spec.serving, spec.serving.replicas
    for name, value in serving.env.items():
        if not isinstance(value, str):
            yield ("serving", "env", name), "one machine has no Secrets. Remove it, or use a Kubernetes."
    if serving.engine != "ray":
        return
    if replicas.max > replicas.min:
        yield (
            ("serving", "replicas", "max"),
            f"one machine adds no workers. Set it to {replicas.min}, as `min`, or use a Kubernetes.",
        )
    if serving.gpu:
        yield (
            ("serving", "gpu"),
            "each Ray cluster of one machine would take the same GPU. Use `engine: vllm` for a GPU, or a Kubernetes.",
        )
