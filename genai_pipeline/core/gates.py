"""What a release must prove: the `gates` of a model file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from genai_pipeline.core.judge_model import JudgeModel

Ratio = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServingGates(_Section):
    """What the serving report must prove. Times in milliseconds, rates per second."""

    at_concurrency: PositiveInt = 8
    requests: PositiveInt = 48
    ttft_p95_ms: PositiveFloat = 800
    min_tokens_per_s: PositiveFloat = 100
    error_rate_max: Ratio = 0
    kv_cache_max: Ratio = 0.85
    queue_max: int = Field(30, ge=0)
    usd_per_hour: float = Field(0.0, ge=0)
    usd_per_million_tokens_max: PositiveFloat | None = None


class AgentGates(_Section):
    """What the agent report must prove.

    Args:
        suite: one of `evaluation/suites/`, or the path of a file of one's own.
        repeat: runs of each case; None: as the suite says.
        worse_than_live_alpha: how unlikely chance must be before a release counts as worse than live.
        judge: a model that judges the turns that have a `rubric`; none: nobody does.
        tool_calling_min: of the cases of `tool_calling_suite`, put to the engine itself; none: they are not asked.
    """

    suite: Annotated[str, Field(min_length=1)] = "weather"
    repeat: Annotated[PositiveInt, Field(le=100)] | None = None
    worse_than_live_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    task_success_min: Ratio = 0.9
    tool_accuracy_min: Ratio = 0.95
    latency_p95_s: PositiveFloat = 10.0
    judge: JudgeModel | None = None
    tool_calling_min: Ratio | None = None
    tool_calling_suite: Annotated[str, Field(min_length=1)] = "tool_calling"


class Gates(_Section):
    serving: ServingGates = ServingGates()  # pyright: ignore[reportCallIssue]
    agent: AgentGates = AgentGates()
