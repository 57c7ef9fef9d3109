"""The arguments of vLLM in which a repository of a hub can be named, and what may stand there instead. Pure.

Source: vLLM 0.32, and the argument list of 0.33. These are all values that its parser takes and hands to the client of
a hub: `tokenizer`, `hf_config_path`, `generation_config` and `hf_overrides` of ModelConfig, `model` of
SpeculativeConfig, and the paths of adapters (`get_adapter_absolute_path`). Only the draft and the tokenizer may be in
S3, because ModelConfig pulls these two (`maybe_pull_model_tokenizer_for_runai`). `auto_map` with `owner/name--` is
documented by Transformers.

What may be in S3 must be a staged revision, which a model file of its own brings there. So its bytes are verified, its
licence is judged, and the address pins it: the arguments are part of the release.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from genai_pipeline.core.engine_flags import spelt

_OFFLINE = "Engines ask no hub (HF_HUB_OFFLINE is 1), because only staged files are verified."
_ADAPTER = (
    f"{_OFFLINE} vLLM reads adapters from a path of the pod, and not from S3. Bake the adapter into the image, and "
    "write its absolute path, as /adapters/sql. Or merge it into the model before you publish it."
)
_DRAFT = (
    "Stage it by a model file of its own (`genai stage draft`), and write the address that the command prints, "
    "s3://bucket/models/draft/<40 hex digits>/. Or write an absolute path of the image."
)

REMEDIES: Mapping[str, str] = {
    "tokenizer": f"{_OFFLINE} Remove it to take the model's own. {_DRAFT}",
    "speculative-config": f"{_OFFLINE} {_DRAFT}",
    "spec-model": f"{_OFFLINE} {_DRAFT}",
    "lora-modules": _ADAPTER,
    "default-mm-loras": _ADAPTER,
    "hf-config-path": f"{_OFFLINE} Remove it to take the model's own, and change fields by `hf-overrides`. Or write an "
    "absolute path of the image; vLLM does not read it from S3.",
    "generation-config": f"{_OFFLINE} Write auto, vllm or an absolute path of the image; vLLM reads none from S3. "
    "`override-generation-config` sets single values.",
    "hf-overrides": f"{_OFFLINE} Publish the code in the repository of the model, and name it without `owner/name--`.",
}
"""What to do, by argument."""
_DRAFTS = ("spec-model", "speculative-config")
_FROM_S3 = ("tokenizer", *_DRAFTS)
_WORDS: Mapping[str, tuple[str, ...]] = {
    "generation-config": ("auto", "vllm"),
    "spec-model": ("ngram", "[ngram]"),
    "speculative-config": ("ngram", "[ngram]"),
}
"""Values that are no names."""
_STAGED = re.compile(r"s3://([a-z0-9][a-z0-9.-]+)/models/([a-z0-9-]+)/([0-9a-f]{40})/?")


@dataclass(frozen=True)
class NamedRepository:
    """A name of a repository. `place` has the keys below the argument."""

    place: tuple[str, ...]
    name: str
    remedy: str


@dataclass(frozen=True)
class StagedAddress:
    """The prefix of a staged revision, as an argument names it."""

    bucket: str
    model: str
    revision: str


def named_repositories(name: str, value: Any) -> Iterator[NamedRepository]:
    """Yield each name of a repository in an argument, however deep.

    Args:
        name: name of the argument, with the keys behind a dot if it has some.
        value: as the model file has it, which may be JSON text.
    """
    for argument, place, found in _texts(name, value):
        if not _is_address(argument, found):
            yield NamedRepository(place, found, REMEDIES[argument])


def staged_addresses(args: Mapping[str, Any]) -> list[StagedAddress]:
    """Return the staged revisions that the arguments of a model file name."""
    texts = [
        text for name, value in args.items() for argument, _, text in _texts(spelt(name), value) if argument in _FROM_S3
    ]
    return [StagedAddress(*found.groups()) for text in texts if (found := _STAGED.fullmatch(text))]


def staged_drafts(args: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each argument that names a staged draft, as the model file writes it, with the address."""
    for written, value in args.items():
        for argument, _, text in _texts(spelt(written), value):
            if argument in _DRAFTS and _STAGED.fullmatch(text):
                yield written, text


def _texts(name: str, value: Any) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield (the argument, the keys below it, the text) of all that vLLM would load from somewhere."""
    head, *keys = name.split(".")
    tree = _read(value)
    for key in reversed(keys):
        tree = {key: tree}
    for place, found in _places(head, tree) if head in REMEDIES else ():
        if isinstance(found, str):
            yield head, place[len(keys) :], found


def _is_address(argument: str, text: str) -> bool:
    if argument == "hf-overrides":
        return "--" not in text
    staged = argument in _FROM_S3 and _STAGED.fullmatch(text) is not None
    return staged or text.startswith("/") or text in _WORDS.get(argument, ())


def _places(argument: str, tree: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield what vLLM would load from somewhere, with its keys."""
    mapping = cast(Mapping[str, Any], tree) if isinstance(tree, Mapping) else None
    if argument == "lora-modules":
        modules: list[Any] = cast(list[Any], tree) if isinstance(tree, list) else [tree]
        yield from (((), _path_of(module)) for module in modules)
    elif argument == "hf-overrides":
        yield from _code_names(tree, ())
    elif argument == "default-mm-loras":
        yield from (((key,), path) for key, path in (mapping or {}).items())
    elif argument == "speculative-config":
        if mapping and not _is_class(mapping.get("method"), mapping.get("model")):
            yield ("model",), mapping.get("model")
    elif not (argument == "spec-model" and _is_class(None, tree)):
        yield (), tree


def _code_names(tree: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values of every `auto_map`."""
    for key, value in cast(Mapping[str, Any], tree).items() if isinstance(tree, Mapping) else ():
        if key == "auto_map" and isinstance(value, Mapping):
            yield from (((*place, key, name), text) for name, text in cast(Mapping[str, Any], value).items())
        else:
            yield from _code_names(value, (*place, key))


def _is_class(method: Any, model: Any) -> bool:
    """Return whether the draft is a class of Python, as `pkg.Proposer`, which vLLM imports."""
    parts = model.split(".") if isinstance(model, str) else []
    return method == "custom_class" or (
        method is None and len(parts) > 1 and all(part.isidentifier() for part in parts)
    )


def _path_of(module: Any) -> Any:
    """Return the path of `name=path`, or of a mapping with the key `path`."""
    read = _read(module)
    return (
        cast(Mapping[str, Any], read).get("path") if isinstance(read, Mapping) else str(read).partition("=")[2] or None
    )


def _read(value: Any) -> Any:
    """Return what JSON text stands for; other values are returned as they are."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[{")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
