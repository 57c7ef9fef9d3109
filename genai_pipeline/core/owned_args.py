"""The arguments of vLLM that the pipeline owns, and those that would ask a hub. Pure data and rules.

Probes, the Service, the stop hook, the load test and the watch rely on them. A model file that gives one of them is
refused, with the field that it should use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

_PROBES = "Probes and the Service ask port 8000 by HTTP. Remove it."
_TLS = "Probes and the Service speak HTTP inside the cluster. Remove it, and end TLS in front of the Service."
_ONE_NODE = "A replica is one pod on one node. Remove it; more replicas are `serving.replicas`."
_REVISION = "The engine loads the staged revision. Remove it, and set `source.ref`."

OWNED: Mapping[str, str] = {
    "model": "The engine loads the staged model. Remove it, and set `source`.",
    "served-model-name": "Remove it, and list further names in `serving.served_names`.",
    "api-key": "Every check of the pipeline would get 401. Remove it, and put a gateway in front of the Service.",
    "hf-token": "Engines ask no hub. Remove it; the pipeline itself reads `HF_TOKEN` when it stages.",
    "revision": _REVISION,
    "code-revision": _REVISION,
    "tokenizer-revision": _REVISION,
    "config": "No such file is in the pod. Remove it, and write its arguments here.",
    "disable-log-stats": "The load test and the watch read the engine's metrics. Remove it.",
    **dict.fromkeys(("host", "port", "uds", "grpc", "grpc-port", "headless"), _PROBES),
    **dict.fromkeys(
        ("ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "ssl-cert-reqs", "ssl-ciphers", "enable-ssl-refresh"), _TLS
    ),
    **dict.fromkeys(
        (
            "data-parallel-rank",
            "data-parallel-start-rank",
            "data-parallel-size-local",
            "data-parallel-address",
            "data-parallel-rpc-port",
            "data-parallel-external-lb",
            "data-parallel-hybrid-lb",
            "data-parallel-multi-port-external-lb",
            "data-parallel-supervisor-port",
            "master-addr",
            "master-port",
            "nnodes",
            "node-rank",
        ),
        _ONE_NODE,
    ),
}
"""Arguments that a model file may not give, and what to do instead."""

ONLY: Mapping[str, tuple[tuple[str, ...], str]] = {
    "load-format": (
        ("auto", "modelexpress", "runai_streamer", "runai_streamer_sharded"),
        "The staged model is in S3, which vLLM reads in no other format.",
    ),
    "api-server-count": (("1",), "A stopping engine drains in one process, so it has one API server."),
}
"""Arguments that may have only some of their values, and the reason."""

OUR_DEFAULTS = frozenset({"attention-backend", "dtype", "load-format", "shutdown-timeout"})
"""Arguments that the pipeline gives when the model file does not. `false` leaves them to vLLM."""

_HUB_ARGS = ("tokenizer", "hf-config-path", "spec-model", "generation-config")
_WORDS_NOT_NAMES = frozenset({"auto", "vllm", "ngram", "[ngram]"})
HUB_REMEDY = (
    "Engines ask no hub, because HF_HUB_OFFLINE is 1 and only the staged model is verified. Write an absolute path of "
    "the image, as /opt/tokenizer, or a prefix `s3://…`."
)


def why_owned(name: str, value: Any) -> str:
    """Return why a model file may not give this argument with this value, and what to do; empty where it may."""
    if name in OWNED:
        return f"belongs to the pipeline. {OWNED[name]}"
    allowed, why = ONLY.get(name, ((), ""))
    if allowed and not isinstance(value, bool) and str(value) not in allowed:
        return f"must be {' or '.join(allowed)}. {why}"
    return ""


def hub_names(name: str, value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each name of a hub's repository in an argument, with its place below the argument.

    Args:
        name: name of the argument, with the keys behind a dot if it has some.
        value: as the model file has it.
    """
    for place, text in _paths(name, _read(value)):
        if isinstance(text, str) and text not in _WORDS_NOT_NAMES and not text.startswith(("/", "s3://")):
            yield place, text


def _paths(name: str, value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield what vLLM would load from somewhere, with its place below the argument."""
    if name in (*_HUB_ARGS, "speculative-config.model"):
        yield (), value
    elif name == "speculative-config" and isinstance(value, Mapping):
        config = cast(Mapping[str, Any], value)
        if config.get("method") != "custom_class":  # there `model` is the path of a class
            yield ("model",), config.get("model")
    elif name == "default-mm-loras" and isinstance(value, Mapping):
        yield from (((key,), path) for key, path in cast(Mapping[str, Any], value).items())
    elif name == "lora-modules":
        for module in cast(list[Any], value) if isinstance(value, list) else [value]:
            read = _read(module)
            yield (), cast(Mapping[str, Any], read).get("path") if isinstance(read, Mapping) else _behind_name(read)


def _behind_name(module: Any) -> str | None:
    """Return the path of `name=path`."""
    return str(module).partition("=")[2] or None


def _read(value: Any) -> Any:
    """Return what JSON text stands for; other values are returned as they are."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[{")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
