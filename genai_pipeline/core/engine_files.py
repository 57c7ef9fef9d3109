"""Says whether an engine finds its config, a tokenizer and a chat template beside the weights. Pure.

vLLM copies the files of a staged model to a folder of its own, all but the weights. So it does not see the
`consolidated*.safetensors` there by which it recognizes a repository of Mistral.
Source: vllm/config/model.py, `maybe_pull_model_tokenizer_for_runai`; vllm/transformers_utils/config.py, `get_config`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from genai_pipeline.core.config_hints import config_problem
from genai_pipeline.core.engine_flags import spelt

CONFIG = "config.json"
MISTRAL_CONFIG = "params.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
_WITH_TEMPLATE = (TOKENIZER_CONFIG, "processor_config.json")

_TOKENIZER = re.compile(
    r"tokenizer\.(json|model.*)|tekken\.json|vocab\.(json|txt)|.*\.tiktoken|tiktoken\.model|tokenization_.*\.py"
)
_TEMPLATE = re.compile(r"chat_template\.(jinja|json)|additional_chat_templates/.+\.jinja")
"""Source: transformers/utils/hub.py, `CHAT_TEMPLATE_FILE` and the two constants beside it."""

_CUSTOM_TOKENIZER = re.compile(r"tokenization_.*\.py")
_MISTRAL_TOKENIZER = re.compile(r"tekken\.json|tokenizer\.model(\.v.*)?")
_MODES_WITHOUT_TEMPLATE = ("cohere", "deepseek_v32", "deepseek_v4", "deepseek_v41", "inkling", "kimi_k3")
"""Values of `tokenizer-mode` whose prompts vLLM writes by code. Source: vllm/renderers/registry.py."""

_ARCHITECTURES_WITHOUT_TEMPLATE = re.compile(r"(DeepseekV32|DeepseekV4|DeepseekV41|Inkling|KimiK3)For\w+")
"""Architectures that get such a mode by themselves. Source: vllm/config/model.py, "Set default tokenizer modes"."""

_TYPES_WITH_TEMPLATE = (
    "blip-2", "clip", "colpali", "deepseek_ocr", "deepseek_ocr2", "unlimited-ocr", "unlimited_ocr", "deepseek_vl_v2",
    "minicpmv", "minicpmv4_6", "minicpmv4_7", "paligemma", "siglip", "siglip2",
)  # fmt: skip
"""Values of `model_type` for which vLLM has a template. Source: vllm/transformers_utils/chat_templates/registry.py."""


@dataclass(frozen=True)
class EngineFiles:
    """What an engine finds beside the weights.

    Attributes:
        problem: says why the engine cannot start, or an empty text if it can.
        remedy: says what to do about the problem.
        chat_template: says where the chat template is, or an empty text without one.
        template: text of the chat template, or an empty text if it is not known.
        chat_problem: says why the engine would refuse every chat, with the remedy, or an empty text if it may not.
        dtype: number format of the weights as the config says it, or an empty text if it does not.
        config: content of config.json, or an empty mapping without one.
        warnings: what will probably fail later, each with its remedy.
    """

    problem: str = ""
    remedy: str = ""
    chat_template: str = ""
    template: str = ""
    chat_problem: str = ""
    dtype: str = ""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[str, ...] = ()


def is_read(path: str) -> bool:
    """Return whether the content of this file says how an engine chats."""
    return path in (CONFIG, *_WITH_TEMPLATE) or bool(_TEMPLATE.fullmatch(path))


def engine_files(contents: Mapping[str, bytes | None], args: Mapping[str, Any]) -> EngineFiles:
    """Return what an engine finds among the files of a revision.

    Args:
        contents: path -> content, which is needed of files that `is_read` names, and else None.
        args: the engine's arguments in the model file.
    """
    said = {spelt(name): value for name, value in args.items() if value is not False}
    problem, remedy = _config_problem(contents, said)
    config = _json(contents.get(CONFIG))
    if not problem:
        problem, remedy = config_problem(config, _json(contents.get(TOKENIZER_CONFIG)), said)
    template = _chat_template(contents, said)
    chat_problem = "" if template else _no_template(contents)
    warnings: list[str] = []
    if not any(map(_TOKENIZER.fullmatch, contents)) and not {"tokenizer", "skip-tokenizer-init"} & said.keys():
        warnings.append("There is no tokenizer in the root. Publish tokenizer.json beside the weights.")
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "")
    text = _template_text(contents, said)
    return EngineFiles(problem, remedy, template, text, chat_problem, dtype, config, tuple(warnings))


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
    """Return where the chat template comes from, in the order in which vLLM looks, or an empty text without one."""
    mode = str(said.get("tokenizer-mode", "auto")).lower()
    if said.get("chat-template"):
        return "the argument chat-template"
    if mode == "mistral" and "tokenizer" not in said:
        return "mistral-common" if any(map(_MISTRAL_TOKENIZER.fullmatch, contents)) else ""
    if mode in _MODES_WITHOUT_TEMPLATE:
        return f"vLLM's code for tokenizer-mode {mode}"
    if mode == "auto" and (architecture := _architecture(contents)):
        return f"vLLM's code for {architecture}"
    if found := next((path for path in sorted(contents) if _TEMPLATE.fullmatch(path)), None):
        return found
    if found := next((path for path in _WITH_TEMPLATE if _in_json(contents.get(path))), None):
        return found
    if "tokenizer" in said:
        return "the tokenizer that the argument tokenizer names"
    if (kind := _json(contents.get(CONFIG)).get("model_type")) in _TYPES_WITH_TEMPLATE:
        return f"vLLM's own template for {kind}"
    return _by_code(contents, said, mode)


def _by_code(contents: Mapping[str, Any], said: Mapping[str, Any], mode: str) -> str:
    """Return which code may write the prompts, of the repository or of the image. Only the engine can know."""
    custom = next((path for path in sorted(contents) if _CUSTOM_TOKENIZER.fullmatch(path)), None)
    if custom and said.get("trust-remote-code"):
        return f"perhaps {custom}"
    return "" if mode in ("auto", "hf", "slow") else f"perhaps the code of tokenizer-mode {mode}"


def _template_text(contents: Mapping[str, bytes | None], said: Mapping[str, Any]) -> str:
    """Return the text of the chat template, all of its variants together, or an empty text if no file here has it."""
    given = str(said.get("chat-template") or "")
    if given:
        return given if "{" in given else ""  # else it is a path in the image
    if str(said.get("tokenizer-mode", "")).lower() == "mistral":
        return "[TOOL_CALLS]"  # mistral-common writes no other format
    files = [path for path in sorted(contents) if _TEMPLATE.fullmatch(path)]
    if not files:
        return next(filter(None, (_in_json(contents.get(path)) for path in _WITH_TEMPLATE)), "")
    bodies = {path: contents[path] or b"" for path in files}
    read = (_in_json(b) if path.endswith(".json") else b.decode("utf-8", "replace") for path, b in bodies.items())
    return "\n".join(read)


def _in_json(content: bytes | None) -> str:
    """Return the templates in a JSON file. Several have names, in a mapping or in a list of mappings."""
    found = _json(content).get("chat_template")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False) if found else ""


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
