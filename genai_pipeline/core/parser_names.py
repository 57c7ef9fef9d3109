"""The names of vLLM's parsers of tool calls and of thoughts. Pure data.

vLLM's argument parser takes any text there, and the engine ends when it starts. Source: vLLM 0.32, vllm/tool_parsers
and vllm/reasoning; a test compares both with the installed vLLM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genai_pipeline.core.did_you_mean import suggestion

TOOL_PARSERS = (
    "apertus", "cohere_command3", "cohere_command4", "deepseek_v3", "deepseek_v31", "deepseek_v32", "deepseek_v4",
    "deepseek_v41", "dots", "ernie45", "functiongemma", "gemma4", "gigachat3", "glm45", "glm47", "granite",
    "granite-20b-fc", "granite4", "hermes", "hf", "hunyuan_a13b", "hy_v3", "hy_v4", "inkling", "internlm", "jamba",
    "k2_horizon", "kimi_k2", "kimi_k3", "lfm2", "ling3", "llama3_json", "llama4_json", "llama4_pythonic", "longcat",
    "mimo", "minicpm5", "minimax_m2", "minimax_m3", "mistral", "muse_glimmer", "olmo3", "openai", "phi4_mini_json",
    "plamo3", "poolside_v1", "pythonic", "qwen3_coder", "qwen3_json", "qwen3_xml", "seed_oss", "step3", "step3p5",
    "xlam",
)  # fmt: skip
REASONING_PARSERS = (
    "cohere_command3", "cohere_command4", "deepseek_r1", "deepseek_v3", "deepseek_v4", "deepseek_v41", "ernie45",
    "gemma4", "glm45", "glm47", "granite", "granite_thinking_parser", "hf", "holo2", "hunyuan_a13b", "hy_v3",
    "hy_v4", "inkling", "k2_horizon", "kimi_k2", "kimi_k3", "ling3", "mimo", "minicpmv", "minimax_m2",
    "minimax_m2_append_think", "minimax_m3", "mistral", "muse_glimmer", "nemotron_v3", "olmo3", "openai_gptoss",
    "plamo3", "poolside_v1", "qwen3", "seed_oss", "step3", "step3p5",
)  # fmt: skip
_PARSERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "tool-call-parser": (TOOL_PARSERS, "tool-parser-plugin"),
    "reasoning-parser": (REASONING_PARSERS, "reasoning-parser-plugin"),
}


def unknown_parsers(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield each parser that vLLM 0.32 does not have. A newer vLLM may have it, so this is a hint.

    Args:
        said: the engine's arguments, with dashes in their names.
    """
    for argument, (names, plugin) in _PARSERS.items():
        given = said.get(argument)
        if isinstance(given, str) and given and given not in names and not said.get(plugin):
            meant = suggestion(given, names)
            yield f"vLLM 0.32 has no {argument} {given!r}. An engine that lacks it does not start. {meant}"
