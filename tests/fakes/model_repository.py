"""Repositories of made-up models for the embedded hub, with weights that are real safetensors."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

BLOCK = 16 * 1024 * 1024
INDEX = "model.safetensors.index.json"


def safetensors(size: int, seed: int, tensor: str = "weight") -> bytes:
    """A file of `size` bytes with one tensor of bytes. Source: safetensors documentation, "Format"."""
    length = 0
    for _ in range(3):  # the header names the length of what follows it, which depends on the header's own
        about = {tensor: {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}
        header = json.dumps(about).encode()
        header += b" " * (-len(header) % 8)
        length = size - 8 - len(header)
    made = random.Random(seed)
    blocks = [made.randbytes(min(BLOCK, length - start)) for start in range(0, length, BLOCK)]
    return b"".join([len(header).to_bytes(8, "little"), header, *blocks])


def model_files(sizes: Mapping[str, int], seed: int) -> dict[str, bytes]:
    """Shards of these sizes, the index that names them, and what else a model has."""
    shards = {name: safetensors(size, seed + n, f"layer.{n}") for n, (name, size) in enumerate(sizes.items())}
    weight_map = {f"layer.{n}": name for n, name in enumerate(sizes)}
    index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
    return {
        **shards,
        INDEX: json.dumps(index).encode(),
        "config.json": json.dumps({"seed": seed}).encode(),
        "tokenizer.json": json.dumps({"vocabulary": [seed, *range(3000)]}).encode(),
        "sub/notes.txt": f"Made from {seed}.".encode(),
    }


def write_repository(
    hub: Path, name: str, revisions: Mapping[str, Mapping[str, bytes]], gated: bool = False, licence: str = "mit"
) -> None:
    """Write `hub/name` with a tag per revision; `main` is the last one."""
    for tag, files in revisions.items():
        for path, body in files.items():
            file = hub / name / tag / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
    titles = ", ".join(f"{tag}: {{title: {tag}}}" for tag in revisions)
    about = f"gated: {str(gated).lower()}, license: {licence}, refs: {{main: {list(revisions)[-1]}}}"
    (hub / name / "repo.yaml").write_text(f"{{{about}, revisions: {{{titles}}}}}")
