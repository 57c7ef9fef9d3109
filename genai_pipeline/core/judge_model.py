"""Which model judges free text in an evaluation: `gates.agent.judge` of a model file, or the environment of the CLI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from genai_pipeline.core.errors import Refused

PREFIX = "JUDGE_"


class JudgeModel(BaseModel):
    """A judge. Its key is never written here: it comes from the environment, `JUDGE_API_KEY`.

    Args:
        provider: openai is any OpenAI-compatible endpoint, at `base_url`; bedrock takes the credentials of boto3.
        base_url: with or without `/v1`.
        region: of Bedrock; none: as boto3 finds it.
        temperature: none: it is not sent, for models that refuse it.
        timeout_s: for one answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1)]
    provider: Literal["openai", "bedrock"] = "openai"
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] | None = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0

    @model_validator(mode="after")
    def _reachable(self) -> JudgeModel:
        if self.provider == "openai" and not self.base_url:
            raise ValueError("a judge needs `base_url`, or `provider: bedrock`")
        if self.provider == "bedrock" and self.base_url:
            raise ValueError("`base_url` cannot go with bedrock: remove it, or the provider")
        if self.provider == "openai" and self.region:
            raise ValueError("`region` is Bedrock's: remove it, or say `provider: bedrock`")
        return self


def judge_settings(env: Mapping[str, str]) -> JudgeModel | None:
    """What `JUDGE_MODEL`, `JUDGE_PROVIDER`, `JUDGE_BASE_URL`, `JUDGE_REGION` and so on say; None without JUDGE_MODEL.

    `JUDGE_TEMPERATURE=none` sends none.

    Raises: Refused: they contradict each other.
    """
    named = {name: env.get(PREFIX + name.upper(), "").strip() for name in JudgeModel.model_fields}
    given = {name: None if value == "none" else value for name, value in named.items() if value}
    if "model" not in given:
        return None
    try:
        return JudgeModel.model_validate(given)
    except ValidationError as error:
        told = [f"{PREFIX}{'_'.join(map(str, d['loc'])).upper() or '*'}: {d['msg']}" for d in error.errors()]
        raise Refused(f"The judge's settings are wrong: {'; '.join(told)}.", f"Set {PREFIX}… accordingly.") from error
