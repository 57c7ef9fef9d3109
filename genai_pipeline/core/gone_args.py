"""Arguments that earlier versions of vLLM had and the versions of the tables do not, and what replaced them. Pure data.

Model cards and guides still print them. Source: vLLM's release notes, and its page Engine Arguments.
"""

from __future__ import annotations

from collections.abc import Mapping

_ROPE = "Write its keys into `hf-overrides: {rope_parameters: {…}}`."
_DRAFT = "Write `speculative-config: {method: …, num_speculative_tokens: …}`."
_GRAMMAR = "Write `structured-outputs-config: {backend: …}`."
_NOTHING = "Remove it: the engine has nothing of the kind any more."

GONE: Mapping[str, str] = {
    "task": "Write `task: chat`, `completion`, `embed` or `score` at the top of the model file.",
    "device": "Remove it: the image decides.",
    "enable-reasoning": "Remove it: `reasoning-parser` alone switches it on.",
    "O": "Write `optimization-level`.",
    "cuda-graph-sizes": "Write `cudagraph-capture-sizes`.",
    "max-seq-len-to-capture": "Write `max-cudagraph-capture-size`.",
    "override-pooler-config": "Write `pooler-config`.",
    "disable-mm-preprocessor-cache": "Write `mm-processor-cache-gb: 0`.",
    **dict.fromkeys(("rope-scaling", "rope-theta"), _ROPE),
    **dict.fromkeys(("guided-decoding-backend", "guided-decoding-disable-fallback"), _GRAMMAR),
    **dict.fromkeys(("speculative-model", "num-speculative-tokens", "ngram-prompt-lookup-max"), _DRAFT),
    **dict.fromkeys(
        (
            "calculate-kv-scales",
            "disable-async-output-proc",
            "disable-frontend-multiprocessing",
            "enable-lora-bias",
            "logits-processor-pattern",
            "long-lora-scaling-factors",
            "lora-extra-vocab-size",
            "num-lookahead-slots",
            "num-scheduler-steps",
            "preemption-mode",
            "quantization-param-path",
            "scheduler-delay-factor",
            "swap-space",
            "tokenizer-pool-size",
            "use-v2-block-manager",
            "worker-use-ray",
        ),
        _NOTHING,
    ),
}
"""Argument -> what to do."""
