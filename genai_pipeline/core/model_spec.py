"""A model: one `models/<name>.yaml`, as typed data. Reading and error reporting: `model_file.py`."""

from __future__ import annotations

import hashlib
import json
import os
import re
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from genai_pipeline.core.cron import Cron, TimeZone
from genai_pipeline.core.duration import Duration
from genai_pipeline.core.formats import Format
from genai_pipeline.core.gates import Gates
from genai_pipeline.core.tag_range import TagRange
from genai_pipeline.core.window import MaintenanceWindow

Glob = Annotated[str, Field(min_length=1)]
ANY_LICENCE = "any"
_S3_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s]*)?")
ArgValue = bool | int | float | str | dict[str, Any] | list[Any]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _matches(path: str, globs: tuple[Glob, ...]) -> bool:
    return any(fnmatchcase(path, f"{glob}*" if glob.endswith("/") else glob) for glob in globs)


class Source(_Section):
    """Where the weights come from: a repository of the hub, a prefix of S3 or a folder; and which of its files.

    Args:
        hub, ref: a repository, and what is followed in it: a branch, a tag, a commit, or the newest of the tags that a
            range (`v2.*`, `^1.4`, `>=2, <3`) or a pattern (`release-*`) takes.
        prereleases: whether a range also takes tags like v2.1.0-rc.1.
        s3: every object below `s3://bucket/prefix/`, in the pipeline's own S3 but for `region` and `endpoint`.
        folder: every file below a folder of the machine that stages.
        include, exclude: globs over the files' paths, as huggingface_hub's allow_patterns: `*` also spans folders, and
            `sub/` is all below it. Excluding wins.
        formats: what weights may be stored in.
        licences: those that the source may state; `any` allows all, and sources that state none.
    """

    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    s3: str | None = None
    folder: str | None = None
    ref: Annotated[str, Field(min_length=1)] = "main"
    prereleases: bool = False
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    endpoint: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] | None = None
    requester_pays: bool = Field(False, alias="requester-pays")
    include: tuple[Glob, ...] = ()
    exclude: tuple[Glob, ...] = ()
    formats: Annotated[tuple[Format, ...], Field(min_length=1)] = ("safetensors",)
    licences: tuple[str, ...] = ("apache-2.0", "mit", "bsd-3-clause", "llama3.1", "gemma")

    @property
    def address(self) -> str:
        """What the source is called: `owner/name`, `s3://bucket/prefix/` or `/a/folder`. Also in a snapshot."""
        return self.hub or self.s3 or self.folder or ""

    @property
    def kind(self) -> Literal["hub", "s3", "folder"]:
        return "hub" if self.hub else "s3" if self.s3 else "folder"

    @property
    def title(self) -> str:
        """The address, and the ref where there is one."""
        return f"{self.address}@{self.ref}" if self.hub else self.address

    def selects(self, path: str) -> bool:
        """Whether a file is one of the model's."""
        wanted = not self.include or _matches(path, self.include)
        return wanted and not _matches(path, self.exclude)

    @field_validator("ref")
    @classmethod
    def _name_or_range(cls, ref: str) -> str:
        TagRange.parse(ref)
        return ref

    @field_validator("s3")
    @classmethod
    def _prefix(cls, s3: str | None) -> str | None:
        if s3 is None:
            return None
        if not _S3_PREFIX.fullmatch(s3):
            raise ValueError("is not s3://bucket/prefix/, as in s3://models/tiny/")
        return s3 if s3.endswith("/") else f"{s3}/"

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: str | None) -> str | None:
        if folder is None:
            return None
        path = os.path.normpath(os.path.expanduser(folder))
        if not os.path.isabs(path) or path == "/":
            raise ValueError("must be a whole path, as /srv/models/tiny or ~/models/tiny")
        return path

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        places = [name for name in ("hub", "s3", "folder") if getattr(self, name) is not None]
        if len(places) != 1:
            raise ValueError(f"takes one of hub, s3 and folder; got {' and '.join(places) or 'none'}")
        stray = [] if self.hub or self.ref == "main" else ["ref"]
        stray += ["prereleases"] if self.prereleases and not self.hub else []
        if not self.s3:
            stray += [name for name in ("region", "endpoint") if getattr(self, name)]
            stray += ["requester-pays"] if self.requester_pays else []
        if stray:
            raise ValueError(f"{', '.join(stray)} cannot go with {places[0]}: remove it")
        return self


class ReservationTerm(_Section):
    """EC2 capacity reservations by id, or by all of these tags, and optionally of one owner (an AWS account).

    Source: EKS documentation, "Node Class: capacityReservationSelectorTerms".
    """

    id: Annotated[str, Field(pattern=r"^cr-[0-9a-f]+$")] | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    owner: Annotated[str, Field(pattern=r"^\d{12}$")] | None = None

    @model_validator(mode="after")
    def _selects(self) -> ReservationTerm:
        if not (self.id or self.tags):
            raise ValueError("selects every reservation: give an id or tags")
        return self


class Gpu(_Section):
    """What one replica needs of the GPU node pool.

    `reservation_terms` say which capacity reservations: any of them will do.
    """

    instance_family: str = Field("g6e", alias="instance-family")
    count: PositiveInt = 1
    reservation: Literal["none", "optional", "required"] = "none"
    reservation_terms: tuple[ReservationTerm, ...] = Field((), alias="reservation-terms")

    @model_validator(mode="after")
    def _terms_are_used(self) -> Gpu:
        if self.reservation_terms and self.reservation == "none":
            raise ValueError("reservation-terms without a reservation: set reservation to optional or required")
        return self


class Resources(_Section):
    """What one replica requests of its node besides GPUs."""

    cpu: PositiveFloat = 1.0
    memory_gib: PositiveFloat = 4.0


class Replicas(_Section):
    """Replica bounds and the autoscaling of engines that have one (Ray Serve's names)."""

    min: PositiveInt = 1
    max: PositiveInt = 1
    target_ongoing_requests: PositiveInt = 20
    upscale_delay_s: PositiveInt = 30
    downscale_delay_s: PositiveInt = 600

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max})")
        return self


class Serving(_Section):
    """How a release is served; its hash is the second half of the release id."""

    engine: Literal["vllm"] = "vllm"
    image: str = "vllm/vllm-openai:v0.33.0"
    args: dict[str, ArgValue] = Field(default_factory=dict)
    env: dict[str, str] = Field(default_factory=dict)
    gpu: Gpu | None = None
    resources: Resources = Resources()  # pyright: ignore[reportCallIssue]
    replicas: Replicas = Replicas()
    startup_deadline_s: PositiveInt = 600

    @property
    def config_hash(self) -> str:
        """Hex sha256 of the canonical JSON of this section."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class Breach(_Section):
    """When a release that has the traffic is judged to misbehave: above its gates, or far worse than the last good one.

    Args:
        hold_s: in the file `for`: how long it must hold, as 2m, 30s or seconds.
        times_baseline: TTFT and inter-token latency may be so many times the last good release's.
        min_requests: fewer in the time looked at prove nothing.
    """

    hold_s: Duration = Field(120.0, alias="for")
    times_baseline: Annotated[float, Field(gt=1)] = 3.0
    min_requests: PositiveInt = 10


class Rollout(_Section):
    """How a release replaces the live one, and how it is watched afterwards.

    Args:
        allow_downtime: the live release may be stopped to make room, so that nobody is served until the next one is.
        approval: manual lets a proven candidate wait for `genai approve`.
        window: when rollouts may start and traffic may move, as `Mon-Fri 09:00-17:00 Europe/Berlin`; none means always.
            Going back to the last good release never waits for it.
        watch_minutes: how long the last good release stays warm and the new one is watched; 0 means not at all.
            At most a year, because its end is a date.
        guard: after the watch too it goes back where it answers with errors or crashes; the last good one starts first.
        self_heal: what was changed by hand in the cluster is set right, and not only shown.
    """

    strategy: Literal["auto", "blue_green", "recreate"] = "auto"
    allow_downtime: bool = False
    approval: Literal["auto", "manual"] = "auto"
    window: MaintenanceWindow | None = None
    drain_deadline_s: PositiveInt = 30
    max_attempts: PositiveInt = 3
    watch_minutes: Annotated[float, Field(ge=0, le=525_600)] = 30
    guard: bool = True
    breach: Breach = Breach()  # pyright: ignore[reportCallIssue]
    paused: bool = False
    self_heal: bool = False

    @model_validator(mode="after")
    def _nobody_waits_unserved(self) -> Rollout:
        if self.approval == "manual" and (self.allow_downtime or self.strategy == "recreate"):
            stops = "strategy recreate" if self.strategy == "recreate" else "allow_downtime"
            raise ValueError(f"{stops} stops the live release before anybody approves the next: use approval auto")
        return self


class Refresh(_Section):
    """The agent suite is put to what is live when `evaluation` (crontab, or off) says, on the clocks of `timezone`."""

    evaluation: Cron = "23 5 * * *"
    timezone: TimeZone = "UTC"


class ModelSpec(_Section):
    """One model: where it comes from, how it is served, what it must prove."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$")]
    source: Source
    serving: Serving = Serving()  # pyright: ignore[reportCallIssue]
    gates: Gates = Gates()
    rollout: Rollout = Rollout()
    refresh: Refresh = Refresh()

    @property
    def group(self) -> str:
        """Name of the model where dashes are not allowed, as in Dagster's groups."""
        return self.name.replace("-", "_")

    @field_validator("name")
    @classmethod
    def _not_an_agents_name(cls, name: str) -> str:
        if name.endswith("-agent"):
            raise ValueError("must not end in -agent: that is what a model's agent is called")
        return name
