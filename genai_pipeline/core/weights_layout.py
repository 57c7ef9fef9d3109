"""Decides which files of a revision an engine loads, which are left out, and what is wrong. Pure.

vLLM loads a staged model with the Run:ai streamer. It takes every `*.safetensors` in the root of the prefix, and does
not look at the index. So what the index does not name must not be there.

Source: vllm/model_executor/model_loader/runai_streamer_loader.py, `_prepare_weights`; runai_model_streamer,
safetensors_streamer.py, `list_safetensors` (not recursive); vllm/config/vllm.py ("To load a model from object
storage"). vLLM's loader for folders filters by the index: weight_utils.py, `filter_duplicate_safetensors_files`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from genai_pipeline.core.errors import IncompleteModel
from genai_pipeline.core.formats import format_of
from genai_pipeline.core.safetensors_index import INDEX_NAME, INDEX_SUFFIX, TAKE_WHOLE, shards_named_by

SINGLE = "model.safetensors"
"""Name of unsharded weights. Source: transformers/utils/__init__.py, `SAFE_WEIGHTS_NAME`."""

MOST_NAMED = 5
_NUMBERED = re.compile(r"(.+)-(\d+)-of-(\d+)\.safetensors")
_SHARDED_STATE = re.compile(r"model-(rank-\d+|pp-\d+-tp-\d+)-part-\d+\.safetensors")
"""Source: vllm/model_executor/model_loader/sharded_state_loader.py, `TP_ONLY_PATTERN`, `PP_AND_TP_PATTERN`."""

_ADAPTER = re.compile(r"adapter_model.*\.safetensors")
"""Source: peft/utils/constants.py, `SAFETENSORS_WEIGHTS_NAME`."""

_CONSOLIDATED = re.compile(r"consolidated.*\.safetensors")
"""Mistral's own layout. Source: vllm/model_executor/model_loader/default_loader.py, `load_format == "mistral"`."""


@dataclass(frozen=True)
class Layout:
    """What an engine does with the files of a revision.

    Attributes:
        loaded: paths of the weights that the engine loads.
        left_out: path -> why it is not part of the snapshot, as pairs.
        rule: says in words what decides which files are loaded.
        problem: says why the revision cannot be loaded, or an empty text if it can.
        remedy: says what to do about the problem, with lines to paste into the model file.
        sharded_state: whether the files are the ranks of `runai_streamer_sharded`.
    """

    loaded: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    rule: str = ""
    problem: str = ""
    remedy: str = ""
    sharded_state: bool = False

    def for_loader(self, load_format: str) -> Layout:
        """Return this layout with the problem that a load format of vLLM has with it."""
        asked = load_format == "runai_streamer_sharded"
        if self.problem or asked == self.sharded_state:
            return self
        is_what = "the ranks of a sharded state" if self.sharded_state else "no ranks of a sharded state"
        fitting = "runai_streamer_sharded" if self.sharded_state else "runai_streamer"
        return Layout(
            problem=f"The weights are {is_what}, and `load-format: {load_format}` cannot load them.",
            remedy=f"Set in the model file:\nserving:\n  args:\n    load-format: {fitting}",
        )


def layout_of(paths: Collection[str], indexes: Mapping[str, bytes], source: str = "") -> Layout:
    """Return what is loaded of these files, what is left out and why, and what is wrong.

    Args:
        paths: of all files that the model file selects.
        indexes: path -> content of each `*.safetensors.index.json` in the root.
        source: address of the files, for the remedy.
    """
    weights = sorted(path for path in paths if "/" not in path and path.endswith(".safetensors"))
    ranks = [path for path in weights if _SHARDED_STATE.fullmatch(path)]
    if not weights:
        return _nothing_in_the_root(paths, source)
    if ranks:
        return _sharded_state(weights, ranks, indexes)
    if INDEX_NAME in indexes:
        return _by_index(INDEX_NAME, weights, paths, indexes)
    if any(map(_is_model, weights)):
        return _without_index(weights, indexes)
    if len(indexes) == 1:
        return _by_index(next(iter(indexes)), weights, paths, indexes)
    if indexes:
        names = sorted(indexes)
        return Layout(
            problem=f"There are {len(names)} indexes, {_named(names)}, and no {INDEX_NAME}.",
            remedy=_exclude("Leave out all but one, for example", names[1:]),
        )
    return _without_index(weights, indexes)


def _by_index(index: str, weights: Sequence[str], paths: Collection[str], indexes: Mapping[str, bytes]) -> Layout:
    """Take what an index names. The other weights of the root, and the other indexes, are left out."""
    try:
        named = shards_named_by(indexes[index], index)
    except IncompleteModel as error:
        return Layout(problem=error.what, remedy=_without_this_index(index, weights, error.remedy))
    if missing := sorted(named - set(paths)):
        problem = f"{index} names {_named(missing)}, which the revision does not hold."
        return Layout(problem=problem, remedy=_without_this_index(index, weights, TAKE_WHOLE))
    if below := sorted(named - set(weights)):
        return Layout(
            problem=f"{index} names {_named(below)}, and vLLM loads only `*.safetensors` in the root.",
            remedy="Publish the shards beside their index.",
        )
    others = [path for path in weights if path not in named]
    why = f"{index} does not name it"
    left = [*((path, why) for path in others), *_other_indexes(index, indexes)]
    return Layout(tuple(sorted(named)), tuple(left), f"{_count(len(named))} that {index} names")


def _without_this_index(index: str, weights: Sequence[str], otherwise: str) -> str:
    """Return the remedy for an index that is wrong: leave it out, where the files are a whole model without it."""
    alone = _without_index(weights, {})
    if alone.problem:
        return otherwise
    return _exclude(f"If {_named(alone.loaded)} is the whole model, leave the index out", [index])


def _without_index(weights: Sequence[str], indexes: Mapping[str, bytes]) -> Layout:
    """Take one file, or a numbered set. Adapters, and a second layout of the same weights, are left out."""
    has_model = any(map(_is_model, weights))
    left: dict[str, str] = {}
    for path in weights:
        if _ADAPTER.fullmatch(path):
            left[path] = "it is an adapter, which a client loads on top of a model"
        elif has_model and _CONSOLIDATED.fullmatch(path):
            left[path] = "it holds the same weights in Mistral's own layout"
        elif has_model and not _is_model(path) and (index := _index_that_names(path, indexes)):
            left[path] = f"{index} names it, which is not the index of {SINGLE}"
    rest = [path for path in weights if path not in left]
    if not rest:
        return Layout(
            problem=f"There is only an adapter ({_named(weights)}), and no model that an engine can load.",
            remedy="Merge it into its base model (peft, `merge_and_unload`), and publish the result.",
        )
    left |= dict(_other_indexes("", indexes))
    return _whole(rest, tuple(left.items()))


def _is_model(path: str) -> bool:
    return path == SINGLE or path.startswith("model-")


def _index_that_names(path: str, indexes: Mapping[str, bytes]) -> str | None:
    for index, content in sorted(indexes.items()):
        with suppress(IncompleteModel):
            if path in shards_named_by(content, index):
                return index
    return None


def _whole(rest: Sequence[str], left: tuple[tuple[str, str], ...]) -> Layout:
    """Judge files that no index names: they must be one file, or every number of one set."""
    numbered = [_NUMBERED.fullmatch(path) for path in rest]
    sets = {(match[1], int(match[3])) for match in numbered if match}
    if len(rest) == 1 and not sets:
        return Layout(tuple(rest), left, f"the only safetensors file of the root, {rest[0]}")
    if len(sets) == 1 and all(numbered):
        ((stem, count),) = sets
        return _numbered_set(rest, left, stem, count, {int(match[2]) for match in numbered if match})
    keep = SINGLE if SINGLE in rest else None
    several = f"The root holds {_named(rest)}, and no index says which of them are the model."
    if keep:
        return Layout(
            problem=several, remedy=_exclude("Leave out what is not", [path for path in rest if path != keep])
        )
    return Layout(problem=several, remedy=_exclude("Leave out all but the model's files, for example", rest[1:]))


def _numbered_set(
    rest: Sequence[str], left: tuple[tuple[str, str], ...], stem: str, count: int, there: set[int]
) -> Layout:
    """Judge `<stem>-00001-of-00002` and so on. Some families count from 0, up to or including the last number."""
    wanted = range(count) if 0 in there else range(1, count + 1)
    if lost := [number for number in wanted if number not in there]:
        width = len(rest[0].rsplit("-of-", 1)[1].removesuffix(".safetensors"))
        names = [f"{stem}-{number:0{width}}-of-{count:0{width}}.safetensors" for number in lost]
        return Layout(problem=f"The root holds {_named(rest)}, but not {_named(names)}.", remedy=TAKE_WHOLE)
    return Layout(tuple(rest), left, f"{_count(len(rest))} that their names count")


def _sharded_state(weights: Sequence[str], ranks: Sequence[str], indexes: Mapping[str, bytes]) -> Layout:
    """Take the ranks. The index beside them is that of the model before it was sharded."""
    why = "it is not a rank of the sharded state"
    left = [(path, why) for path in [*weights, *sorted(indexes)] if path not in ranks]
    return Layout(tuple(ranks), tuple(left), f"{_count(len(ranks))} of a sharded state", sharded_state=True)


def _nothing_in_the_root(paths: Collection[str], source: str) -> Layout:
    below = sorted({path.rsplit("/", 1)[0] for path in paths if path.endswith(".safetensors")})
    if below:
        return Layout(
            problem=f"There are no weights in the root, only in {_named([f'{folder}/' for folder in below])}. "
            "vLLM loads only `*.safetensors` in the root.",
            remedy=_take_folder(source, below[0]),
        )
    others = sorted(path for path in paths if format_of(path))
    formats = sorted({str(format_of(path)) for path in others})
    what = f"only {_named(others)} ({', '.join(formats)})" if others else "no weights at all"
    return Layout(
        problem=f"There is no safetensors file to serve, {what}. vLLM loads only safetensors from S3.",
        remedy=where_safetensors_are(source),
    )


def where_safetensors_are(source: str) -> str:
    """Return what to do about a revision that holds weights, and none of them as safetensors.

    A conversion is a pull request. Source: Hugging Face, safetensors, "Convert weights to safetensors".
    """
    if source.startswith(("s3://", "/")):
        return "Convert the weights to safetensors (transformers, `save_pretrained`), and put them beside config.json."
    return (
        "Name a repository with safetensors. Or name the pull request that converts the weights, if the repository has "
        "one on the hub:\nsource:\n  ref: refs/pr/<number>"
    )


def _take_folder(source: str, folder: str) -> str:
    if source.startswith("s3://"):
        return f"Take that folder as the source:\nsource:\n  s3: {source}{folder}/"
    if source.startswith("/"):
        return f"Take that folder as the source:\nsource:\n  folder: {source}/{folder}"
    return f"Copy that folder to S3, and take it from there:\nsource:\n  s3: s3://your-bucket/{folder}/"


def _other_indexes(but: str, indexes: Mapping[str, bytes]) -> list[tuple[str, str]]:
    return [(path, "it is the index of files that are left out") for path in sorted(indexes) if path != but]


def _exclude(words: str, paths: Sequence[str]) -> str:
    """Return a remedy with lines to paste. `source.exclude` takes globs, so special characters are escaped."""
    globs = [re.sub(r"([*?\[])", r"[\1]", path) for path in paths]
    return f"{words}:\nsource:\n  exclude: {json.dumps(globs, ensure_ascii=False)}"


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return ", ".join(paths[:MOST_NAMED]) + more


def _count(files: int) -> str:
    return f"the {files} files" if files != 1 else "the file"


def is_root_index(path: str) -> bool:
    """Return whether a file is an index of weights in the root."""
    return "/" not in path and path.endswith(INDEX_SUFFIX)
