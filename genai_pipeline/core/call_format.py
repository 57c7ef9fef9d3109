"""Says whether an engine's parsers fit what a chat template writes. Pure.

A template shows its format by its tags. What it shows is a hint only, because a template may write calls in ways that
no tag shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genai_pipeline.core.engine_flags import spelt
from genai_pipeline.core.parser_names import unknown_parsers

AUTO, PARSER, REASONING = "enable-auto-tool-choice", "tool-call-parser", "reasoning-parser"

CALL_TAGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("<|channel|>", ("openai",)),
    ("[TOOL_CALLS]", ("mistral",)),
    ("｜DSML｜", ("deepseek_v32", "deepseek_v4", "deepseek_v41")),
    ("<｜tool▁calls▁begin｜>", ("deepseek_v3", "deepseek_v31")),
    ("<|tool_calls_section_begin|>", ("kimi_k2",)),
    ("<minimax:tool_call>", ("minimax_m2",)),
    ("<seed:tool_call>", ("seed_oss",)),
    ("<|tool_call_start|>", ("lfm2",)),
    ("<longcat_tool_call>", ("longcat",)),
    ("<start_function_call>", ("functiongemma",)),
    ("<|START_ACTION|>", ("cohere_command3", "cohere_command4")),
    ("<|action_start|>", ("internlm",)),
    ("<function_calls>", ("olmo3",)),
    ("<|tool_call|>", ("granite", "phi4_mini_json")),
    ("<|tool_call>", ("gemma4",)),
    ("<arg_key>", ("glm45", "glm47", "poolside_v1", "hy_v4")),
    ("<function=", ("qwen3_coder", "qwen3_xml", "mimo", "step3p5", "minicpm5")),
    ("<tool_calls>", ("hunyuan_a13b", "jamba")),
    ("<tool_call>", ("hermes", "qwen3_json", "granite4", "granite", "ernie45", "ling3")),
    ("<|python_tag|>", ("llama3_json", "llama4_json", "llama4_pythonic")),
)
"""Tag of a template -> the parsers that read it, the usual one first. The first tag that is found counts.

Source: vllm/tool_parsers, and vllm/parser for those that are built on it.
"""

_READS_MANY = ("hf", "xlam")

THOUGHT_TAGS: tuple[tuple[str, str], ...] = (
    ("[THINK]", "mistral"),
    ("<seed:think>", "seed_oss"),
    ("<mm:think>", "minimax_m3"),
    ("<|START_THINKING|>", "cohere_command3"),
    ("<|channel|>", "openai_gptoss"),
    ("</think>", "qwen3"),
)
"""Tag of a template -> a parser of vLLM that splits such thoughts from the answer. Source: vllm/reasoning."""


def parser_hints(template: str, args: Mapping[str, Any], calls_tools: bool) -> Iterator[str]:
    """Yield what a template shows about parsers that do not fit, or are missing, each with what to set.

    Args:
        template: text of the chat template, or an empty text if it is not known.
        args: the engine's arguments in the model file.
        calls_tools: whether the model must call tools.
    """
    said = {spelt(name): value for name, value in args.items()}
    yield from unknown_parsers(said)
    tag, parsers = next(((tag, parsers) for tag, parsers in CALL_TAGS if tag in template), ("", ("",)))
    given = said.get(PARSER)
    if tag and calls_tools and not given:
        yield (
            f"The chat template writes tool calls as {tag}, and no {PARSER} reads them. Set in the model file:\n"
            f"serving:\n  args:\n    {AUTO}: true\n    {PARSER}: {parsers[0]}"
        )
    if tag and given and given not in (*parsers, *_READS_MANY) and not said.get("tool-parser-plugin"):
        yield (
            f"The chat template writes tool calls as {tag}, which is not the format of {PARSER} {given}. "
            f"Set in the model file:\nserving:\n  args:\n    {PARSER}: {parsers[0]}"
        )
    thought, parser = next(((tag, name) for tag, name in THOUGHT_TAGS if tag in template), ("", ""))
    if thought and not said.get(REASONING):
        yield (
            f"The chat template knows thoughts ({thought}), and no {REASONING} splits them from the answer. "
            f"Set the model's own in the model file, for example:\nserving:\n  args:\n    {REASONING}: {parser}"
        )
