"""The model that judges free text: `gates.agent.judge` of a model file, or the environment of the CLI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from genai_pipeline.core.errors import Refused
from genai_pipeline.core.spec_section import Section
from genai_pipeline.core.text_form import API_ADDRESS, REGION

PREFIX = "JUDGE_"


class JudgeModel(Section):
    """Which model judges free text. Its key is never written here: the environment has it as `JUDGE_API_KEY`."""

    model: Annotated[str, Field(min_length=1)]
    """Name of the model at its endpoint."""
    provider: Literal["openai", "bedrock"] = "openai"
    """`openai` is any OpenAI-compatible endpoint at `base_url`. `bedrock` uses the AWS credentials of the process."""
    base_url: Annotated[str, API_ADDRESS] | None = None
    """Address of the endpoint, with or without `/v1`."""
    region: Annotated[str, REGION] | None = None
    """AWS region of Bedrock. The default is the region of the process."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    """Temperature of the request. `null` sends no temperature, for models that refuse it."""
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    """Most seconds for one answer."""

    @model_validator(mode="after")
    def _reachable(self) -> JudgeModel:
        if self.provider == "openai" and not self.base_url:
            raise ValueError("a judge needs `base_url`, or `provider: bedrock`")
        if self.provider == "bedrock" and self.base_url:
            raise ValueError("`base_url` cannot be used with `provider: bedrock`: remove one of them")
        if self.provider == "openai" and self.region:
            raise ValueError("`region` is for Bedrock: remove it, or write `provider: bedrock`")
        return self


def judge_settings(env: Mapping[str, str]) -> JudgeModel | None:
    """Read `JUDGE_MODEL`, `JUDGE_PROVIDER`, `JUDGE_BASE_URL`, `JUDGE_REGION` … from the environment.

    `JUDGE_TEMPERATURE=none` sends no temperature.

    Returns: The judge, or None without `JUDGE_MODEL`.
    Raises: Refused: a variable is wrong, or two of them contradict each other.
    """
    named = {name: env.get(PREFIX + name.upper(), "").strip() for name in JudgeModel.model_fields}
    given = {name: None if value == "none" else value for name, value in named.items() if value}
    if "model" not in given:
        return None
    try:
        return JudgeModel.model_validate(given)
    except ValidationError as error:
        wrong = [f"{PREFIX}{'_'.join(map(str, d['loc'])).upper() or '*'}: {d['msg']}" for d in error.errors()]
        raise Refused(f"The judge's settings are wrong: {'; '.join(wrong)}.", f"Set {PREFIX}… accordingly.") from error
