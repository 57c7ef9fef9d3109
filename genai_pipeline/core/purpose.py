"""What follows from task, agent and gates of a model: what it must prove, and what contradicts them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from genai_pipeline.core.checks import CHECKS, not_applicable
from genai_pipeline.core.engine_args import Place, given
from genai_pipeline.core.engine_flags import spelt
from genai_pipeline.core.model_spec import ModelSpec, Serving
from genai_pipeline.core.task import Task

TOOL_ARGS = ("enable-auto-tool-choice", "tool-call-parser")
"""Without both vLLM answers 400 to a request with tools. Source: vLLM documentation, "Tool Calling"."""
CHAT_ARGS = (*TOOL_ARGS, "tool-parser-plugin", "reasoning-parser", "reasoning-parser-plugin")
"""They read a chat answer, which no other task has."""
LONGEST_DELAY_S = 3600
"""Source: Kubernetes API reference, HorizontalPodAutoscaler v2, `stabilizationWindowSeconds`."""
_RUNNERS = {True: "generate", False: "pooling"}
_GATE_OF = {
    "candidate.tool_call_parsed": "check_tokens",
    "serving_report.ttft_p95": "ttft_p95_ms",
    "serving_report.tokens_per_second": "min_tokens_per_s",
    "serving_report.kv_cache": "kv_cache_max",
}
"""Checks that may not apply, and their fields of `gates.serving`."""


def calls_tools(serving: Serving) -> bool:
    """Return whether the engine turns the words of a model into tool calls."""
    return all(given(serving, name) for name in TOOL_ARGS)


def not_asked(spec: ModelSpec) -> Mapping[str, str]:
    """Return the checks that a release of this model file is not asked, as `asset.check` -> why."""
    has_tool_gate = spec.gates.agent.tool_calling_min is not None
    gpu = spec.serving.gpu
    return not_applicable(
        spec.task,
        spec.has_agent,
        calls_tools(spec.serving),
        has_tool_gate,
        gpu is not None and gpu.is_nvidia,
        gpu is not None and gpu.reservation != "none",
    )


def checks_of(spec: ModelSpec) -> Mapping[str, Mapping[str, str]]:
    """Return the checks of a release of this model file, as in `CHECKS`. An asset without any is left out."""
    excused = not_asked(spec)
    asked = {
        asset: {name: question for name, question in checks.items() if f"{asset}.{name}" not in excused}
        for asset, checks in CHECKS.items()
    }
    return {asset: checks for asset, checks in asked.items() if checks}


def by_reason(excused: Mapping[str, str]) -> dict[str, list[str]]:
    """Return each reason with the checks that it excuses, for people."""
    found: dict[str, list[str]] = {}
    for check, why in excused.items():
        found.setdefault(why, []).append(check)
    return found


def contradictions(spec: ModelSpec) -> Iterator[tuple[Place, str]]:
    """Yield what the parts of a model file say against each other.

    Args:
        spec: the model, as its file has it.
    Returns: The place of each contradiction, and its reason with what to write instead.
    """
    yield from _of_agent(spec)
    yield from _of_arguments(spec)
    for check, why in not_asked(spec).items():
        gate = _GATE_OF.get(check)
        if gate in spec.gates.serving.model_fields_set:
            yield ("gates", "serving", gate), f"nothing is judged by it. {why} Remove it."
    if spec.gates.serving.scale_out and not spec.serving.scales:
        yield (
            ("gates", "serving", "scale_out"),
            "the engine adds no replicas. Write a `replicas.max` above `replicas.min`, or remove it.",
        )
    yield from _of_delays(spec.serving)


def _of_delays(serving: Serving) -> Iterator[tuple[Place, str]]:
    """Refuse delays of plain vLLM that its autoscaler does not take; Ray's own takes any."""
    if serving.engine != "vllm" or not serving.scales:
        return
    for field in ("upscale_delay_s", "downscale_delay_s"):
        if getattr(serving.replicas, field) > LONGEST_DELAY_S:
            why = f"Kubernetes scales after {LONGEST_DELAY_S} s at the latest. Write no more than that."
            yield ("serving", "replicas", field), why


def _of_agent(spec: ModelSpec) -> Iterator[tuple[Place, str]]:
    if spec.task is not Task.CHAT and spec.has_agent:
        yield ("agent",), f"a model with `task: {spec.task}` has no agent, which needs a chat. Remove the section."
        return
    if spec.has_agent:
        if missing := [name for name in TOOL_ARGS if not given(spec.serving, name)]:
            yield (
                ("serving", "args", *_switched_off(spec.serving, missing)),
                f"the agent sends its tools with every request, and vLLM refuses them without {' and '.join(missing)}. "
                "Write `serving: {args: {enable-auto-tool-choice: true, tool-call-parser: <parser of the model>}}`, "
                "or `agent: none` for a model without tools.",
            )
        return
    why = f"`task: {spec.task}`" if spec.task is not Task.CHAT else "`agent: none`"
    if "agent" in spec.gates.model_fields_set:
        yield ("gates", "agent"), f"{why} means that no agent is there to be judged. Remove the section."
    if "evaluation" in spec.refresh.model_fields_set and spec.refresh.evaluation is not None:
        yield ("refresh", "evaluation"), f"{why} means that no agent is there to be evaluated again. Remove it."


def _switched_off(serving: Serving, missing: list[str]) -> list[str]:
    """Return the argument that is given, and is false: its line is the one to change."""
    return [written for written in serving.args if spelt(written) in missing][:1]


def _of_arguments(spec: ModelSpec) -> Iterator[tuple[Place, str]]:
    wanted = _RUNNERS[spec.task.generates]
    for written, value in spec.serving.args.items():
        name, place = spelt(written).partition(".")[0], ("serving", "args", written)
        if name in CHAT_ARGS and spec.task is not Task.CHAT and value is not False:
            yield place, f"a model with `task: {spec.task}` answers no chat. Remove it, or write `task: chat`."
        if name == "runner" and value not in ("auto", wanted):
            yield place, f"`task: {spec.task}` needs the runner {wanted}. Write `runner: {wanted}`, or remove it."
        if name == "convert" and spec.task.generates and value not in ("auto", "none"):
            yield place, f"{value} makes a pooling model, and `task: {spec.task}` generates. Remove it."
        if name == "convert" and spec.task is Task.EMBED and value == "classify":
            yield place, "classify gives scores, and `task: embed` gives embeddings. Write `convert: embed`."
