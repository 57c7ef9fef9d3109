"""What a release must prove: the section `gates` of a model file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from genai_pipeline.core.judge_model import JudgeModel
from genai_pipeline.core.spec_section import Section
from genai_pipeline.core.task import Task

POOLED_LATENCY_P95_MS = 800.0
"""As for a first token: the work until the pooled result is the work until the first token."""
Ratio = Annotated[float, Field(ge=0, le=1)]


class ServingGates(Section):
    """What the serving report must prove. A candidate is measured under load."""

    at_concurrency: PositiveInt = 8
    """Requests that are under way at once in the measured step."""
    requests: PositiveInt = 48
    """Requests of the load test, most of them at that concurrency. There at least 20 are sent: fewer give no 95th
    percentile."""
    scale_out: bool = False
    """Also holds a load that asks for one more replica until it serves, and reports the time. A node may be bought for
    it. Only with `replicas.max` above `replicas.min`."""
    ttft_p95_ms: PositiveFloat = 800
    """Most milliseconds to the first token, 95th percentile."""
    latency_p95_ms: PositiveFloat | None = None
    """Most milliseconds of a whole request, 95th percentile. The default is 800 for embed and score, else no limit."""
    min_tokens_per_s: PositiveFloat = 100
    """Fewest completion tokens per second, all requests together."""
    error_rate_max: Ratio = 0
    """Largest share of requests that may fail."""
    kv_cache_max: Ratio = 0.85
    """Largest share of the KV cache that may be in use."""
    queue_max: int = Field(30, ge=0)
    """Most requests that may wait in the engine."""
    check_tokens: Annotated[int, Field(ge=16, le=32_768)] = 256
    """Most tokens of an answer to a check of the candidate. A model that thinks before it calls a tool needs more."""
    usd_per_hour: float = Field(0.0, ge=0)
    """Price of `replicas.min` replicas in US dollars per hour, for the cost figures. 0 takes the list price."""
    usd_per_million_tokens_max: PositiveFloat | None = None
    """Highest price of a million completion tokens in US dollars, of prompt tokens for embed and score. The default
    has no limit."""

    def latency_limit_ms(self, task: Task) -> float | None:
        """Return the most milliseconds of a whole request, or None where there is no limit."""
        return self.latency_p95_ms or (None if task.generates else POOLED_LATENCY_P95_MS)

    def watched_ms(self, task: Task) -> float:
        """Return the limit of the time that the engine itself measures: to the first token, or to the pooled result."""
        return self.ttft_p95_ms if task.generates else self.latency_p95_ms or POOLED_LATENCY_P95_MS


class AgentGates(Section):
    """What the agent report must prove."""

    suite: Annotated[str, Field(min_length=1)] = "weather"
    """Name of a suite in `genai_pipeline/evaluation/suites/`, or a path relative to the model file."""
    repeat: Annotated[PositiveInt, Field(le=100)] | None = None
    """Runs of each case. The default is what the suite says."""
    at_concurrency: PositiveInt | None = None
    """Conversations that are held side by side. The default is `gates.serving.at_concurrency`."""
    worse_than_live_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """A release is worse than the live one when the p-value of the exact McNemar test is at most this."""
    task_success_min: Ratio = 0.9
    """Smallest share of cases that must be solved."""
    tool_accuracy_min: Ratio = 0.95
    """Smallest share of turns that must call the right tools with the right arguments."""
    latency_p95_s: PositiveFloat = 10.0
    """Most seconds of a turn, 95th percentile."""
    judge: JudgeModel | None = None
    """Model that judges turns with a `rubric`. Without it these turns are not judged."""
    tool_calling_min: Ratio | None = None
    """Smallest share of the cases of `tool_calling_suite` that the engine itself must solve. The default asks none."""
    tool_calling_suite: Annotated[str, Field(min_length=1)] = "tool_calling"
    """Suite for `tool_calling_min`, named like `suite`."""


class Gates(Section):
    """What a release must prove before it gets user traffic."""

    serving: ServingGates = ServingGates()  # pyright: ignore[reportCallIssue]
    agent: AgentGates = AgentGates()

    @property
    def conversations(self) -> int:
        """The number of conversations that an evaluation holds side by side."""
        return self.agent.at_concurrency or self.serving.at_concurrency
