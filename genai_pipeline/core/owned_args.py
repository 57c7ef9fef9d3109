"""The arguments of vLLM that the pipeline owns. Pure data and rules.

Probes, the Service, the stop hook, the load test and the watch rely on them. A model file that gives one of them is
refused, with the field that it should use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PROBES = "Probes and the Service ask port 8000 by HTTP. Remove it."
_TLS = "Probes and the Service speak HTTP inside the cluster. Remove it, and end TLS in front of the Service."
_ONE_NODE = "A replica is one pod on one node. Remove it; more replicas are `serving.replicas`."
_REVISION = "The engine loads the staged revision. Remove it, and set `source.ref`."
_KEY = "Every check of the pipeline would get 401. Remove it, and put a gateway in front of the Service."

OWNED: Mapping[str, str] = {
    "model": "The engine loads the staged model. Remove it, and set `source`.",
    "served-model-name": "Remove it, and list further names in `serving.served_names`.",
    "api-key": _KEY,
    "hf-token": "Engines ask no hub. Remove it; the pipeline itself reads `HF_TOKEN` when it stages.",
    "revision": _REVISION,
    "code-revision": _REVISION,
    "tokenizer-revision": _REVISION,
    "config": "No such file is in the pod. Remove it, and write its arguments here.",
    "enable-sleep-mode": "Remove it, and set `serving.standby: sleep`.",
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

OWNED_VARIABLES: Mapping[str, str] = {
    "VLLM_API_KEY": _KEY,
    "VLLM_SERVER_DEV_MODE": (
        "It opens paths by which any client reads and changes the engine. Remove it. `serving.standby: sleep` "
        "sets it, behind a guard."
    ),
    "GENAI_PIPELINE_TOKEN": "It is how an engine knows the pipeline. Remove it.",
}
"""Environment variables of the same kind, whatever gives their value."""

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


def why_owned(name: str, value: Any) -> str:
    """Return why a model file may not give this argument this value, and what to do, or an empty text where it may."""
    if name in OWNED:
        return f"belongs to the pipeline. {OWNED[name]}"
    allowed, why = ONLY.get(name, ((), ""))
    if allowed and not isinstance(value, bool) and str(value) not in allowed:
        return f"must be {' or '.join(allowed)}. {why}"
    return ""
