"""Compute the figures of a load from its observed requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genai_pipeline.core.quantiles import quantile

MIN_OBSERVATIONS = 20
"""Below 20 the 95th percentile is the maximum, whatever the distribution."""


@dataclass(frozen=True)
class Observation:
    """One request, as its sender saw it. Times in seconds; `started_s` on the load's own clock.

    Args:
        ttft_s: to the first token of any kind, thoughts included, or None where no token came.
        answer_s: to the first token of the answer itself, or None where the model only thought.
        gaps_s: between one token's arrival and the next one's.
        error: the cause, or an empty text for a request with a whole answer.
    """

    number: int
    concurrency: int
    started_s: float
    duration_s: float
    ttft_s: float | None = None
    answer_s: float | None = None
    gaps_s: tuple[float, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.error


@dataclass(frozen=True)
class Quantiles:
    """In seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Summary:
    """One step of the load. `latency`, `ttft`, `first_answer` and `gaps` are None where too few requests had them.

    Args:
        wall_s: from the start of the first request to the end of the last one.
        tokens_per_s, prompt_tokens_per_s: generated and read tokens of answered requests, over `wall_s`.
        latency: of whole requests.
        errors: cause -> how many requests.
    """

    concurrency: int
    requests: int
    answered: int
    wall_s: float
    tokens_per_s: float
    prompt_tokens_per_s: float
    prompt_tokens: int
    completion_tokens: int
    errors: Mapping[str, int]
    latency: Quantiles | None
    ttft: Quantiles | None
    first_answer: Quantiles | None
    gaps: Quantiles | None


def summarise(observations: Sequence[Observation], minimum: int = MIN_OBSERVATIONS) -> Summary:
    """Return the figures of the requests at one concurrency; quantiles need at least `minimum` answers."""
    answered = [o for o in observations if o.ok]
    starts = [o.started_s for o in observations]
    ends = [o.started_s + o.duration_s for o in observations]
    wall_s = max(ends) - min(starts) if observations else 0.0
    tokens, read = sum(o.completion_tokens for o in answered), sum(o.prompt_tokens for o in answered)
    errors: dict[str, int] = {}
    for o in observations:
        if o.error:
            errors[o.error] = errors.get(o.error, 0) + 1
    return Summary(
        concurrency=max((o.concurrency for o in observations), default=0),
        requests=len(observations),
        answered=len(answered),
        wall_s=wall_s,
        tokens_per_s=tokens / wall_s if wall_s > 0 else 0.0,
        prompt_tokens_per_s=read / wall_s if wall_s > 0 else 0.0,
        prompt_tokens=read,
        completion_tokens=tokens,
        errors=errors,
        latency=_quantiles([o.duration_s for o in answered], minimum),
        ttft=_quantiles([o.ttft_s for o in answered if o.ttft_s is not None], minimum),
        first_answer=_quantiles([o.answer_s for o in answered if o.answer_s is not None], minimum),
        gaps=_quantiles([gap for o in answered for gap in o.gaps_s], minimum),
    )


def _quantiles(values: Sequence[float], minimum: int) -> Quantiles | None:
    if len(values) < minimum:
        return None
    return Quantiles(quantile(values, 0.50), quantile(values, 0.95), quantile(values, 0.99))
