"""A model: one `models/<name>.yaml`, as typed data. Reading and error reporting: `model_file.py`."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)

from genai_pipeline.core.env_value import EnvValue
from genai_pipeline.core.gates import Gates
from genai_pipeline.core.gpu_nodes import NVIDIA_GPU
from genai_pipeline.core.replicas_spec import Replicas
from genai_pipeline.core.rollout_spec import Refresh, Rollout
from genai_pipeline.core.source_spec import Source
from genai_pipeline.core.spec_section import Section
from genai_pipeline.core.task import Task
from genai_pipeline.core.text_form import (
    ACCOUNT,
    CLASS_NAME,
    LABEL_KEY,
    LABEL_VALUE,
    MODEL_NAME,
    RESERVATION,
    RESOURCE,
    SERVED_NAME,
)

ADDED_LATER: Mapping[tuple[str, ...], Any] = {
    ("served_names",): [],
    ("weights",): "stream",
    ("standby",): "warm",
    ("replicas", "max_ongoing_requests"): 100,
    ("gpu", "resource"): NVIDIA_GPU,
    ("gpu", "selector"): {},
    ("gpu", "tolerations"): [],
    ("gpu", "runtime_class"): None,
}
"""Fields of `serving` that came after the first records, and the default of each as JSON has it."""


def _is_given(value: Any) -> Any:
    """Refuse an empty value and a date once, where the union would refuse it for each of its types."""
    if not isinstance(value, bool | int | float | str | dict | list):
        raise ValueError("needs a value: true, false, a number, text, a list or a mapping")
    return value  # pyright: ignore[reportUnknownVariableType]


EngineName = Literal["vllm", "ray"]
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


class Toleration(Section):
    """A taint that the engine's pods tolerate, as Kubernetes writes it.

    Source: Kubernetes documentation, "Taints and Tolerations".
    """

    key: Annotated[str, LABEL_KEY]
    """Key of the taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """`Equal` compares the value of the taint. `Exists` takes any value."""
    value: Annotated[str, LABEL_VALUE] | None = None
    """Value of the taint, with `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Leave it out for every effect."""

    @model_validator(mode="after")
    def _agrees(self) -> Toleration:
        if self.operator == "Exists" and self.value:
            raise ValueError("operator Exists takes no value: leave the value out, or use operator: Equal")
        return self


class Gpu(Section):
    """What one replica needs of a GPU node. A model file without it is served without a GPU. On one machine with a GPU
    every model is served by that."""

    instance_family: str = Field("g6e", alias="instance-family")
    """EC2 instance family of the nodes. Only `GENAI_PROFILE=eks` uses it: elsewhere `selector` chooses the nodes."""
    count: PositiveInt = 1
    """How many of `resource` one replica gets: whole GPUs, or slices where the resource is a slice."""
    resource: Annotated[str, RESOURCE] = NVIDIA_GPU
    """Resource that the nodes offer, as `nvidia.com/gpu`, `nvidia.com/mig-1g.10gb` or `amd.com/gpu`."""
    selector: dict[Annotated[str, LABEL_KEY], Annotated[str, LABEL_VALUE]] = Field(default_factory=dict)
    """Labels that the nodes must have, all of them: the nodeSelector of the engine's pods."""
    tolerations: tuple[Toleration, ...] = ()
    """Further taints that the engine's pods tolerate. The taint of the resource is always tolerated."""
    runtime_class: Annotated[str, CLASS_NAME] | None = Field(None, alias="runtime-class")
    """RuntimeClass of the engine's pods. Needed where GPUs have a container runtime of their own, as in k3s."""
    reservation: Literal["none", "optional", "required"] = "none"
    """`required` uses reserved capacity only. `optional` falls back to on-demand capacity."""
    reservation_terms: tuple[ReservationTerm, ...] = Field((), alias="reservation-terms")
    """Capacity reservations to use. One that fits is enough."""

    @model_validator(mode="after")
    def _terms_are_used(self) -> Gpu:
        if self.reservation_terms and self.reservation == "none":
            raise ValueError("reservation-terms need reservation: set it to optional or required")
        return self

    @property
    def is_nvidia(self) -> bool:
        """Return whether it is an NVIDIA GPU, or a slice of one: NVIDIA's tools know no others."""
        return self.resource.partition("/")[0] == NVIDIA_GPU.partition("/")[0]


class Resources(Section):
    """What one replica requests of its node besides GPUs."""

    cpu: PositiveFloat = 1.0
    """Cores."""
    memory_gib: PositiveFloat = 4.0
    """Memory in GiB. With a GPU take 12 or more: the processes of CUDA need some 7 beside the weights."""


RAY_IMAGE = "genai-pipeline/vllm-ray:v0.33.0-ray2.60.0"
"""vLLM's images have had no Ray since 0.19, and those of Ray 2.60 have vLLM 0.29."""


class Serving(Section):
    """How a release is served. Every change of this section is a new release of the same revision."""

    engine: EngineName = "vllm"
    """`vllm` is vLLM's own server. `ray` runs vLLM's server as replicas of Ray Serve, which scales by itself."""
    weights: Literal["stream", "mount", "prefetch"] = "stream"
    """`stream` reads the weights from S3. `mount` reads them through the CSI driver of Mountpoint for S3.
    `prefetch` copies them into memory while the engine starts: `memory_gib` must hold them, and 7 GiB beside a GPU."""
    image: str = "vllm/vllm-openai:v0.33.0"
    """Container image of the engine. The local profile uses the vLLM that is installed.
    With `engine: ray` the default is `genai-pipeline/vllm-ray:v0.33.0-ray2.60.0`, which images/vllm-ray makes."""
    args: dict[str, ArgValue] = Field(default_factory=dict)
    """Arguments of vLLM's server without `--`. `true` and `false` switch one on and off. A list gives several values.
    Arguments that the pipeline sets are refused, and so are repositories that are not staged."""
    served_names: tuple[Annotated[str, SERVED_NAME], ...] = ()
    """Further names that clients may ask for, beside the name of the model."""
    env: dict[str, EnvValue] = Field(default_factory=dict)
    """Environment variables of the engine. A secret is `NAME: {secretKeyRef: {name: …, key: …}}`, never its text."""
    gpu: Gpu | None = None
    resources: Resources = Resources()  # pyright: ignore[reportCallIssue]
    replicas: Replicas = Replicas()
    startup_deadline_s: PositiveInt = 600
    """Seconds until the engine must be ready."""
    standby: Literal["warm", "sleep"] = "warm"
    """The last good release during a switch and its watch: `warm` keeps it running, or stops it where the next one
    needs its room. `sleep` moves its weights to the host's memory, and wakes it in a second (docs/gpu.md)."""

    @model_validator(mode="before")
    @classmethod
    def _image_with_ray(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "image" in given:
            return given  # pyright: ignore[reportUnknownVariableType]
        file = cast(Mapping[str, Any], given)
        return {**file, "image": RAY_IMAGE} if file.get("engine") == "ray" else file

    @property
    def scales(self) -> bool:
        """Return whether an autoscaler may add replicas: Ray's own, or for plain vLLM one beside it."""
        return self.replicas.max > self.replicas.min

    @property
    def hashed(self) -> dict[str, Any]:
        """Return the fields that tell releases apart."""
        return without_later_defaults(self.model_dump(mode="json"))


def without_later_defaults(serving: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dump of `serving` without the fields of ADDED_LATER that have their default.

    So an upgrade alone makes no new release, and a record from before it does not differ from one of today.

    Args:
        serving: names of fields, or their aliases, and the values as JSON has them.
    """
    kept = copy.deepcopy(dict(serving))
    for (*path, field), default in ADDED_LATER.items():
        section: Any = kept
        for name in path:
            section = section.get(name) or {}
        for name in {field, field.replace("_", "-")} & section.keys():
            if section[name] == default:
                del section[name]
    return kept


class AgentSpec(Section):
    """How the agent of a model asks it. A change deploys the agent again; it makes no new release."""

    max_tokens: Annotated[int, Field(ge=16, le=131_072)] | None = None
    """Most tokens of one completion. A model that thinks before it answers needs more than the default, 256."""


NO_AGENT = "none"


def _form_of_agent(value: Any) -> str:
    return "section" if isinstance(value, AgentSpec | Mapping) else NO_AGENT


AgentChoice = Annotated[
    Annotated[AgentSpec, Tag("section")] | Annotated[Literal["none"], Tag(NO_AGENT)], Discriminator(_form_of_agent)
]


class ModelSpec(Section):
    """One model: where it comes from, how it is served, what it must prove."""

    name: Annotated[str, MODEL_NAME]
    """Name of the model in addresses, assets and objects: lower case letters, digits and `-`, at most 30."""
    source: Source
    task: Task = Task.CHAT
    """What the model is for. It decides which endpoint is asked, and what a release must prove."""
    serving: Serving = Serving()  # pyright: ignore[reportCallIssue]
    agent: AgentChoice = AgentSpec()
    """How the agent of the model asks it. `none` serves the model without an agent. Only a model for chat has one."""
    gates: Gates = Gates()
    rollout: Rollout = Rollout()
    refresh: Refresh = Refresh()

    @property
    def has_agent(self) -> bool:
        return self.agent != NO_AGENT

    @property
    def config_hash(self) -> str:
        """Return the hex sha256 of what makes a release of a revision: `serving`, then what it is for if that is set.

        A change of the task, or between an agent and none, changes what a release must prove, so it is a new release.
        """
        hashed = self.serving.hashed
        if self.task is not Task.CHAT:
            hashed = {"serving": hashed, "task": str(self.task)}
        elif not self.has_agent:
            hashed = {"serving": hashed, "agent": NO_AGENT}
        canonical = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def as_released(self, then: ModelSpec) -> ModelSpec:
        """Return this model file with all that makes a release from the file as it was then.

        Args:
            then: the model file from the record of the release.
        """
        agent = self.agent if self.has_agent == then.has_agent else then.agent
        return self.model_copy(update={"serving": then.serving, "task": then.task, "agent": agent})

    @property
    def group(self) -> str:
        """Return the name with `_` for `-`, because names of Dagster's groups have no dashes."""
        return self.name.replace("-", "_")

    @model_validator(mode="before")
    @classmethod
    def _no_agent_without_a_chat(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "agent" in given:
            return given  # pyright: ignore[reportUnknownVariableType]
        file = cast(Mapping[str, Any], given)
        return file if file.get("task", Task.CHAT) == Task.CHAT else {**file, "agent": NO_AGENT}

    @field_validator("name")
    @classmethod
    def _not_the_name_of_an_agent(cls, name: str) -> str:
        if name.endswith("-agent"):
            raise ValueError("must not end in -agent, because the agent of a model has that name")
        return name
