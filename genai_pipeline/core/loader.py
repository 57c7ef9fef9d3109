"""Which loader of vLLM serves a staged model, and what it can read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genai_pipeline.core.engine_flags import spelt
from genai_pipeline.core.model_spec import ModelSpec

DEFAULT_LOAD_FORMAT = "runai_streamer"
"""vLLM takes it for `auto`, too. Source: vllm/config/vllm.py, "Detected Run:ai model config"."""


def load_format(args: Mapping[str, Any]) -> str:
    """Return vLLM's load format, given a model file's arguments."""
    said = next((value for name, value in args.items() if spelt(name) == "load-format"), DEFAULT_LOAD_FORMAT)
    return said if isinstance(said, str) and said != "auto" else DEFAULT_LOAD_FORMAT


def unloadable_formats(spec: ModelSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield that no loader can serve the formats of a model file, with their place in the file and the remedy."""
    formats = spec.source.formats
    if "safetensors" not in formats:
        yield (
            ("source", "formats"),
            f"must contain safetensors, because vLLM loads nothing else from S3; got {', '.join(formats)}. "
            "Name a repository with safetensors.",
        )
