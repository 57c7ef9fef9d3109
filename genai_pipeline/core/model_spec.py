"""A model: one `models/<name>.yaml`, as typed data. Reading and error reporting: `model_file.py`."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from genai_pipeline.core.gates import Gates
from genai_pipeline.core.rollout_spec import Refresh, Rollout
from genai_pipeline.core.source_spec import Source
from genai_pipeline.core.spec_section import Section
from genai_pipeline.core.text_form import ACCOUNT, MODEL_NAME, RESERVATION, SERVED_NAME

ADDED_LATER = ("served_names",)
"""Fields of `serving` that came after the first records. While they have their default, they are not hashed."""


def _is_given(value: Any) -> Any:
    """Refuse an empty value and a date once, where the union would refuse it for each of its types."""
    if not isinstance(value, bool | int | float | str | dict | list):
        raise ValueError("needs a value: true, false, a number, text, a list or a mapping")
    return value  # pyright: ignore[reportUnknownVariableType]


ArgValue = Annotated[bool | int | float | str | dict[str, Any] | list[Any], BeforeValidator(_is_given)]


class ReservationTerm(Section):
    """Which EC2 capacity reservations may be used. Set `id` or `tags`.

    Source: EKS documentation, "Node Class: capacityReservationSelectorTerms".
    """

    id: Annotated[str, RESERVATION] | None = None
    """Id of one reservation."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags that a reservation must have, all of them."""
    owner: Annotated[str, ACCOUNT] | None = None
    """AWS account that owns the reservation."""

    @model_validator(mode="after")
    def _selects(self) -> ReservationTerm:
        if not (self.id or self.tags):
            raise ValueError("needs id or tags, because without them it selects every reservation")
        return self


class Gpu(Section):
    """What one replica needs of the GPU node pool. A model file without it is served without a GPU."""

    instance_family: str = Field("g6e", alias="instance-family")
    """EC2 instance family of the nodes."""
    count: PositiveInt = 1
    """GPUs of one replica."""
    reservation: Literal["none", "optional", "required"] = "none"
    """`required` uses reserved capacity only. `optional` falls back to on-demand capacity."""
    reservation_terms: tuple[ReservationTerm, ...] = Field((), alias="reservation-terms")
    """Capacity reservations to use. One that fits is enough."""

    @model_validator(mode="after")
    def _terms_are_used(self) -> Gpu:
        if self.reservation_terms and self.reservation == "none":
            raise ValueError("reservation-terms need reservation: set it to optional or required")
        return self


class Resources(Section):
    """What one replica requests of its node besides GPUs."""

    cpu: PositiveFloat = 1.0
    """Cores."""
    memory_gib: PositiveFloat = 4.0
    """Memory in GiB."""


class Replicas(Section):
    """How many replicas serve, and how an engine with an autoscaler scales them (names as in Ray Serve)."""

    min: PositiveInt = 1
    """Fewest replicas."""
    max: PositiveInt = 1
    """Most replicas."""
    target_ongoing_requests: PositiveInt = 20
    """Requests per replica that the autoscaler aims for."""
    upscale_delay_s: PositiveInt = 30
    """Seconds of more load before replicas are added."""
    downscale_delay_s: PositiveInt = 600
    """Seconds of less load before replicas are removed."""

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max})")
        return self


class Serving(Section):
    """How a release is served. Every change of this section is a new release of the same revision."""

    engine: Literal["vllm"] = "vllm"
    """Engine that serves the model."""
    image: str = "vllm/vllm-openai:v0.33.0"
    """Container image of the engine. The local profile uses the vLLM that is installed."""
    args: dict[str, ArgValue] = Field(default_factory=dict)
    """Arguments of vLLM's server without `--`. `true` and `false` switch one on and off. A list gives several values.
    Arguments that the pipeline sets are refused, and so are names of repositories on a hub."""
    served_names: tuple[Annotated[str, SERVED_NAME], ...] = ()
    """Further names that clients may ask for, beside the name of the model."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the engine. Do not put secrets here."""
    gpu: Gpu | None = None
    resources: Resources = Resources()  # pyright: ignore[reportCallIssue]
    replicas: Replicas = Replicas()
    startup_deadline_s: PositiveInt = 600
    """Seconds until the engine must be ready."""

    @property
    def config_hash(self) -> str:
        """Return the hex sha256 of the canonical JSON of this section."""
        # A field that came later counts once it is set, so that an upgrade alone makes no new releases.
        later = {name for name in ADDED_LATER if getattr(self, name) == type(self).model_fields[name].default}
        canonical = json.dumps(self.model_dump(mode="json", exclude=later), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class AgentSpec(Section):
    """How the agent of a model asks it. A change deploys the agent again; it makes no new release."""

    max_tokens: Annotated[int, Field(ge=16, le=131_072)] | None = None
    """Most tokens of one completion. A model that thinks before it answers needs more than the default, 256."""


class ModelSpec(Section):
    """One model: where it comes from, how it is served, what it must prove."""

    name: Annotated[str, MODEL_NAME]
    """Name of the model in addresses, assets and objects: lower case letters, digits and `-`, at most 30."""
    source: Source
    serving: Serving = Serving()  # pyright: ignore[reportCallIssue]
    agent: AgentSpec = AgentSpec()
    gates: Gates = Gates()
    rollout: Rollout = Rollout()
    refresh: Refresh = Refresh()

    @property
    def group(self) -> str:
        """Return the name with `_` for `-`, because names of Dagster's groups have no dashes."""
        return self.name.replace("-", "_")

    @field_validator("name")
    @classmethod
    def _not_the_name_of_an_agent(cls, name: str) -> str:
        if name.endswith("-agent"):
            raise ValueError("must not end in -agent, because the agent of a model has that name")
        return name
