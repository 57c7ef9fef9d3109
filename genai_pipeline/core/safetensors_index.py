"""The index of sharded weights: which file holds which tensor."""

from __future__ import annotations

import json
from typing import Any

from genai_pipeline.core.errors import IncompleteModel

INDEX_NAME = "model.safetensors.index.json"
INDEX_SUFFIX = ".safetensors.index.json"
TAKE_WHOLE = "Nothing was staged. Set `source.ref` in the model file to a complete revision."


def shards_named_by(index: bytes, path: str = INDEX_NAME) -> frozenset[str]:
    """Return the shard files that a `….safetensors.index.json` names, relative to its folder.

    Raises: IncompleteModel: the index is not JSON with a `weight_map` of tensors to files.
    Source: transformers documentation, "Sharded checkpoints".
    """
    try:
        shards: Any = json.loads(index)["weight_map"].values()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_index(path, f"{type(error).__name__}: {error}") from error
    named = list(shards)
    if not named or not all(isinstance(shard, str) and shard for shard in named):
        raise _no_index(path, "its weight_map maps no tensor to a file")
    return frozenset(named)


def _no_index(path: str, why: str) -> IncompleteModel:
    return IncompleteModel(f"{path} is not a safetensors index ({why}).", TAKE_WHOLE)
