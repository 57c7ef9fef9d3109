"""The part of a plan about the engine: its command line, what knows its arguments, and the memory of the weights."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from genai_pipeline.cli.doctor import ENGINES, engine_findings
from genai_pipeline.cli.plan.plan_page import PlanLine, PlanSection
from genai_pipeline.cli.plan.source_section import FoundSource
from genai_pipeline.core.engine_args import unjudged
from genai_pipeline.core.engine_flags import judging_table
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.k8s.cache_pin import cache_place
from genai_pipeline.k8s.engine import engine_args
from genai_pipeline.k8s.engine_cache import keeps_cache
from genai_pipeline.rollout.capacity.weights_in_memory import (
    GpuMemory,
    memory_of_family,
    memory_of_nodes,
    weights_fit,
)
from genai_pipeline.rollout.pools.instance_types import packaged
from genai_pipeline.staging.compile_caches import find


def look_at_engine(
    spec: ModelSpec,
    release: Release,
    found: FoundSource,
    profile: Profile,
    gateways: Gateways,
    installed: Callable[[str], str | None],
    refused: bool,
) -> PlanSection:
    """Show the engine as it will be rendered.

    Args:
        installed: returns the version of a package of this machine.
        refused: the file has mistakes. Its arguments may hold a credential, so none of them is shown.
    """
    arguments = [] if refused else engine_args(spec.serving, release, profile)
    shown = PlanLine("ok", f"vllm serve {shlex.join(arguments)}")
    instead = PlanLine("hint", "A valid file shows its command line here.")
    lines = [_image(spec, profile, installed), instead if refused else shown]
    if names := unjudged(spec.serving):
        lines.append(PlanLine("hint", f"Only the engine can judge {', '.join(names)}: no table here has its version."))
    if profile.name == "local":
        findings = engine_findings(ModelFiles((spec,), ()), installed)
        lines += [PlanLine("hint", f"{finding.what}. {finding.remedy}") for finding in findings]
    if found.loaded_bytes:
        lines.append(_memory(spec, found, profile, gateways.cluster))
    if found.revision and not refused and keeps_cache(spec.serving, profile):
        lines.append(_compile_cache(spec, release, profile, gateways.store))
    return PlanSection("Engine", lines, {"image": spec.serving.image, "args": arguments})


def _compile_cache(spec: ModelSpec, release: Release, profile: Profile, store: ObjectStore) -> PlanLine:
    try:
        found = find(store, cache_place(spec.serving, release, profile))
    except GenaiError as error:
        return PlanLine.of_error(error, "whether compiled code is kept")
    if found.manifest is None:
        return PlanLine("ok", f"compile cache: none, so the first start compiles: {found.why}.")
    by = f"{found.manifest.size / 1e6:.0f} MB, from {found.manifest.release}"
    return PlanLine("ok", f"compile cache: found ({by}). Pods start from it.")


def _image(spec: ModelSpec, profile: Profile, installed: Callable[[str], str | None]) -> PlanLine:
    table = judging_table(spec.serving.image)
    judged = f"its arguments are judged by vLLM {table.version}" if table else "its version is not known here"
    here = ""
    if profile.name == "local":
        found = next((f"{name} {version}" for name in ENGINES if (version := installed(name))), "no vLLM yet")
        here = f" This machine serves with {found}."
    return PlanLine("ok", f"{spec.serving.image}: {judged}.{here}")


def _memory(spec: ModelSpec, found: FoundSource, profile: Profile, cluster: Cluster) -> PlanLine:
    try:
        memory = _gpu_memory(spec, profile, cluster)
    except GenaiError as error:
        return PlanLine.of_error(error, "the memory of the GPUs")
    return PlanLine.of(weights_fit(spec.serving, found.loaded_bytes, found.dtype, memory))


def _gpu_memory(spec: ModelSpec, profile: Profile, cluster: Cluster) -> GpuMemory | None:
    gpu = spec.serving.gpu
    if gpu is None:
        return None
    if profile.has_eks_nodes:
        return memory_of_family(gpu, packaged(profile.region))
    return memory_of_nodes(cluster.list("Node"), gpu)
