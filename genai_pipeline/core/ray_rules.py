"""What a model file with `engine: ray` may not say, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from genai_pipeline.core.engine_args import EXECUTOR, Place, given, workers_per_replica
from genai_pipeline.core.engine_flags import spelt
from genai_pipeline.core.model_spec import ModelSpec, Serving

LONGEST_NAME = 27
"""The name of a RayService has at most 47 characters, 20 of them the release's. Source: KubeRay's validation.go."""
_OF_THE_SERVER = "Serve's proxies answer in place of vLLM's HTTP server, which this configures. Remove it."
WITHOUT_RAY = "vllm/vllm-openai:"
REFUSED = {
    EXECUTOR: "The pipeline sets it: `ray` where a replica needs several workers, else `mp`. Remove it.",
    "data-parallel-backend": "Replicas of Serve are the parallel engines. Remove it, and set `serving.replicas`.",
    **dict.fromkeys(
        (
            "h11-max-header-count",
            "h11-max-incomplete-event-size",
            "uvicorn-log-level",
            "disable-uvicorn-access-log",
        ),
        _OF_THE_SERVER,
    ),
}
"""Arguments that contradict Ray, and what to do instead."""


def against_ray(spec: ModelSpec) -> Iterator[tuple[Place, str]]:
    """Yield what a model file says against the engine that it names, with the place and the remedy."""
    if spec.serving.engine != "ray":
        return
    if len(spec.name) > LONGEST_NAME or not spec.name[0].isalpha():
        yield (
            ("name",),
            f"KubeRay names objects after it: with engine ray it begins with a letter and has at most {LONGEST_NAME} "
            f"characters; {spec.name!r} has {len(spec.name)}. Rename the model, or use engine vllm.",
        )
    for written in spec.serving.args:
        if why := REFUSED.get(spelt(written)):
            yield ("serving", "args", written), f"contradicts engine ray. {why}"
    if spec.serving.weights == "prefetch":
        yield (
            ("serving", "weights"),
            "Ray starts the engine when its node is ready, too late to copy beside it. Set it to stream, or use engine "
            "vllm.",
        )
    if spec.serving.image.startswith(WITHOUT_RAY):
        yield (
            ("serving", "image"),
            "vLLM's own images hold no Ray, and Ray's own hold an older vLLM. Leave it out, and build images/vllm-ray; "
            "or name an image with Ray 2.60 and this vLLM.",
        )
    yield from _one_worker_only(spec.serving)


def _one_worker_only(serving: Serving) -> Iterator[tuple[Place, str]]:
    if workers_per_replica(serving) == 1:
        return
    if str(given(serving, "data-parallel-size") or 1) != "1":
        written = next(name for name in serving.args if spelt(name) == "data-parallel-size")
        yield (
            ("serving", "args", written),
            "a replica over several workers cannot be data-parallel as well. Remove it, and set `serving.replicas`.",
        )
