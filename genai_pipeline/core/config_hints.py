"""Says what a model's config asks of an engine that it will not get: code of others, and forms of weights. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from genai_pipeline.core.engine_flags import spelt
from genai_pipeline.core.task import Task

WITHOUT_LOADER: Mapping[str, str] = {
    "bitsandbytes": "bitsandbytes",
    "gguf": "GGUF",
    "hqq": "HQQ",
    "eetq": "EETQ",
    "quanto": "Quanto",
    "aqlm": "AQLM",
    "higgs": "HIGGS",
    "spqr": "SpQR",
    "vptq": "VPTQ",
    "bitnet": "BitNet",
    "mlx": "MLX",
}
"""Values of `quant_method` that Transformers or MLX write and vLLM 0.32 cannot load. `mlx` is written by no config.

Source: transformers/utils/quantization_config.py, `QuantizationMethod`; vllm, model_executor/layers/quantization.
"""

_GENERATES = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ChatModel")
"""Ends of architectures that vLLM makes an embedding model of. Source: vllm/config/model.py, `_SUFFIX_TO_DEFAULTS`."""


def config_problem(
    config: Mapping[str, Any], tokenizer_config: Mapping[str, Any], args: Mapping[str, Any]
) -> tuple[str, str]:
    """Return why no engine can load a model with this config, and the remedy; both are empty if it can.

    Args:
        config: content of config.json.
        tokenizer_config: content of tokenizer_config.json.
        args: the engine's arguments in the model file.
    """
    said = {spelt(name): value for name, value in args.items() if value is not False}
    if (method := _quantized_by(config)) in WITHOUT_LOADER and "quantization" not in said:
        return (
            f"The weights are quantized by {WITHOUT_LOADER[method]}, which vLLM cannot load.",
            "Take a repository in AWQ, GPTQ, FP8 or compressed-tensors, or one that is not quantized.",
        )
    if "trust-remote-code" in said and (named := next(_foreign_code([config, tokenizer_config]), None)):
        return (
            f"The config takes code from another repository ({named}), and engines ask no hub.",
            "Copy that code beside the weights, and name it in `auto_map` without `owner/name--`. Or remove "
            "`trust-remote-code` if vLLM knows the architecture itself.",
        )
    return "", ""


def task_hints(task: Task | None, config: Mapping[str, Any], args: Mapping[str, Any]) -> Iterator[str]:
    """Yield that a model would score by comparing embeddings, although it may be a reranker that writes yes or no."""
    said = {spelt(name).partition(".")[0] for name, value in args.items() if value is not False}
    listed = config.get("architectures")
    names = [str(name) for name in cast("list[Any]", listed)] if isinstance(listed, list) else []
    if (
        task is Task.SCORE
        and any(name.endswith(_GENERATES) for name in names)
        and not {"hf-overrides", "convert"} & said
    ):
        classifier = f"{re.sub('|'.join(_GENERATES), '', names[0])}ForSequenceClassification"
        yield (
            f"{names[0]} is an architecture that generates, so vLLM would score by the similarity of embeddings. "
            "A reranker that answers with words such as yes and no needs its classifier, for example:\n"
            f"serving:\n  args:\n    hf-overrides: {{architectures: [{classifier}], "
            'classifier_from_token: ["no", "yes"], is_original_qwen3_reranker: true}'
        )


def _quantized_by(config: Mapping[str, Any]) -> str:
    """Return the method, of the whole model or of its part for text."""
    parts: tuple[object, ...] = (config, config.get("text_config"))
    for found in parts:
        part: Mapping[str, Any] = cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}
        about = part.get("quantization_config") or part.get("quantization")
        if isinstance(about, Mapping):
            said = cast("Mapping[str, Any]", about)
            written_by_mlx = {"group_size", "bits"} <= said.keys() and not said.keys() & {"quant_method", "producer"}
            return "mlx" if written_by_mlx else str(said.get("quant_method", "")).lower()
    return ""


def _foreign_code(configs: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield each repository whose code an `auto_map` names, as `owner/name--module.Class`."""
    for config in configs:
        classes = config.get("auto_map")
        texts = cast("Mapping[str, Any]", classes).values() if isinstance(classes, Mapping) else ()
        for text in texts:
            for one in cast("list[Any]", text) if isinstance(text, list) else [text]:
                if isinstance(one, str) and "--" in one:
                    yield one.partition("--")[0]
