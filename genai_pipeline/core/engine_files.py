"""Says whether an engine finds its config, a tokenizer and a chat template beside the weights. Pure.

vLLM copies the files of a staged model to a folder of its own, all but the weights. So it does not see the
`consolidated*.safetensors` there by which it recognizes a repository of Mistral.
Source: vllm/config/model.py, `maybe_pull_model_tokenizer_for_runai`; vllm/transformers_utils/config.py, `get_config`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from genai_pipeline.core.engine_flags import spelt

CONFIG = "config.json"
MISTRAL_CONFIG = "params.json"
TOKENIZER_CONFIG = "tokenizer_config.json"

_TOKENIZER = re.compile(
    r"tokenizer\.(json|model.*)|tekken\.json|vocab\.(json|txt)|.*\.tiktoken|tiktoken\.model|tokenization_.*\.py"
)
_TEMPLATE = re.compile(r"chat_template\.(jinja|json)|additional_chat_templates/.+\.jinja")
"""Source: transformers/utils/hub.py, `CHAT_TEMPLATE_FILE` and the two constants beside it."""

_MISTRAL_TOKENIZER = re.compile(r"tekken\.json|tokenizer\.model(\.v.*)?")
_MODES_WITHOUT_TEMPLATE = ("cohere", "deepseek_v32", "deepseek_v4", "deepseek_v41", "inkling", "kimi_k3")
"""Values of `tokenizer-mode` whose prompts vLLM writes by code. Source: vllm/renderers/registry.py."""

_ARCHITECTURES_WITHOUT_TEMPLATE = re.compile(r"(DeepseekV32|DeepseekV4|DeepseekV41|Inkling|KimiK3)For\w+")
"""Architectures that get such a mode by themselves. Source: vllm/config/model.py, "Set default tokenizer modes"."""


@dataclass(frozen=True)
class EngineFiles:
    """What an engine finds beside the weights.

    Attributes:
        problem: says why the engine cannot start; empty if it can.
        remedy: says what to do about the problem.
        chat_template: says where the chat template is; empty if there is none.
        warnings: what will probably fail later, each with its remedy.
    """

    problem: str = ""
    remedy: str = ""
    chat_template: str = ""
    warnings: tuple[str, ...] = ()


def engine_files(contents: Mapping[str, bytes | None], args: Mapping[str, Any]) -> EngineFiles:
    """Return what an engine finds among the files of a revision.

    Args:
        contents: path -> content, which is needed of CONFIG and TOKENIZER_CONFIG only, and else None.
        args: the engine's arguments in the model file.
    """
    said = {spelt(name): value for name, value in args.items() if value is not False}
    problem, remedy = _config_problem(contents, said)
    template = _chat_template(contents, said)
    warnings = [] if template else [_no_template(contents)]
    if not any(map(_TOKENIZER.fullmatch, contents)) and not {"tokenizer", "skip-tokenizer-init"} & said.keys():
        warnings.append("There is no tokenizer in the root. Publish tokenizer.json beside the weights.")
    return EngineFiles(problem, remedy, template, tuple(warnings))


def _config_problem(contents: Mapping[str, Any], said: Mapping[str, Any]) -> tuple[str, str]:
    by_mistral = said.get("config-format") == "mistral"
    if by_mistral and MISTRAL_CONFIG not in contents:
        remove = "Remove `config-format: mistral` from `serving.args`, or take a repository with params.json."
        return f"There is no {MISTRAL_CONFIG} in the root, which `config-format: mistral` reads.", remove
    if by_mistral or CONFIG in contents or {"hf-config-path", "config-format"} & said.keys():
        return "", ""
    if MISTRAL_CONFIG in contents:
        lines = "serving:\n  args:\n    config-format: mistral\n    tokenizer-mode: mistral"
        return (
            f"There is {MISTRAL_CONFIG} and no {CONFIG}, and vLLM does not recognize Mistral's format in S3.",
            f"Set in the model file:\n{lines}",
        )
    return (
        f"There is no {CONFIG} in the root, so vLLM does not know the architecture.",
        f"Publish {CONFIG} beside the weights, or correct `source.include` and `source.exclude`.",
    )


def _chat_template(contents: Mapping[str, bytes | None], said: Mapping[str, Any]) -> str:
    """Return where the chat template comes from, in the order in which vLLM looks; empty if there is none."""
    mode = str(said.get("tokenizer-mode", "auto")).lower()
    if said.get("chat-template"):
        return "the argument chat-template"
    if mode == "mistral":
        return "mistral-common" if any(map(_MISTRAL_TOKENIZER.fullmatch, contents)) else ""
    if mode in _MODES_WITHOUT_TEMPLATE:
        return f"vLLM's code for tokenizer-mode {mode}"
    if mode == "auto" and (architecture := _architecture(contents)):
        return f"vLLM's code for {architecture}"
    if found := next((path for path in sorted(contents) if _TEMPLATE.fullmatch(path)), None):
        return found
    if _json(contents.get(TOKENIZER_CONFIG)).get("chat_template"):
        return TOKENIZER_CONFIG
    return "the tokenizer that the argument tokenizer names" if "tokenizer" in said else ""


def _architecture(contents: Mapping[str, bytes | None]) -> str:
    named = _json(contents.get(CONFIG)).get("architectures")
    found = [str(name) for name in cast("list[Any]", named)] if isinstance(named, list) else []
    return next((name for name in found if _ARCHITECTURES_WITHOUT_TEMPLATE.fullmatch(name)), "")


def _no_template(contents: Mapping[str, Any]) -> str:
    if any(path in contents for path in ("tekken.json", MISTRAL_CONFIG)):
        lines = "serving:\n  args:\n    tokenizer-mode: mistral"
    else:
        lines = "serving:\n  args:\n    chat-template: <a template, or its path in the image>"
    return (
        f"There is no chat template, so the engine would refuse chat requests with 400. Set in the model file:\n{lines}"
    )


def _json(content: bytes | None) -> dict[str, Any]:
    try:
        found: Any = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
