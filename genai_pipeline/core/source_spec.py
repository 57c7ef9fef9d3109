"""The section `source` of a model file: where the weights come from."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from genai_pipeline.core.formats import Format
from genai_pipeline.core.spec_section import Section
from genai_pipeline.core.tag_range import TagRange
from genai_pipeline.core.text_form import HOST_ADDRESS, REGION, REPOSITORY

Glob = Annotated[str, Field(min_length=1)]
ANY_LICENCE = "any"
_S3_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s]*)?")


class Source(Section):
    """Where the weights come from. Set exactly one of `hub`, `s3` and `folder`."""

    hub: Annotated[str, REPOSITORY] | None = None
    """Repository of the Hugging Face hub, `owner/name`. Gated and private ones need `HF_TOKEN`."""
    s3: str | None = None
    """Prefix `s3://bucket/prefix/`. Every object below it belongs to the model."""
    folder: str | None = None
    """Absolute path of a folder on the machine that runs the pipeline. Links to files are followed."""
    ref: Annotated[str, Field(min_length=1)] = "main"
    """Branch, tag or commit of the repository. A range of tags (`v2.*`, `^1.4`, `>=2, <3`) or a pattern
    (`release-*`) follows the newest tag that fits."""
    prereleases: bool = False
    """Lets a range also take tags such as `v2.1.0-rc.1`."""
    region: Annotated[str, REGION] | None = None
    """Region of the source's bucket. The default is the region of the pipeline's own S3."""
    endpoint: Annotated[str, HOST_ADDRESS] | None = None
    """Address of the source's S3, `https://host`. The default is the pipeline's own S3."""
    requester_pays: bool = Field(False, alias="requester-pays")
    """Accepts the bucket owner's charge for requests."""
    include: tuple[Glob, ...] = ()
    """Globs of the files to take; the default takes every file. `*` also matches `/`. `sub/` matches all below it."""
    exclude: tuple[Glob, ...] = ()
    """Globs of the files to leave out. `exclude` is stronger than `include`. Weights that the index of the root does
    not name are left out by themselves (staging.md, "What an engine loads")."""
    formats: Annotated[tuple[Format, ...], Field(min_length=1)] = ("safetensors",)
    """Formats that the weights may have. It must contain `safetensors`, which vLLM loads from S3. `keras` and
    `pickle` run code when they are loaded."""
    licences: tuple[str, ...] = ("apache-2.0", "mit", "bsd-3-clause", "llama3.1", "gemma")
    """Licences that the source may state, in any case. Of several, each must be allowed; of `a OR b` one. `any`
    accepts every licence, and a source that states no licence."""

    @property
    def address(self) -> str:
        """Return `owner/name`, `s3://bucket/prefix/` or `/a/folder`. Snapshots use the same text."""
        return self.hub or self.s3 or self.folder or ""

    @property
    def kind(self) -> Literal["hub", "s3", "folder"]:
        return "hub" if self.hub else "s3" if self.s3 else "folder"

    @property
    def title(self) -> str:
        """Return the address, and for a repository its ref."""
        return f"{self.address}@{self.ref}" if self.hub else self.address

    def selects(self, path: str) -> bool:
        """Return whether the file at `path` belongs to the model."""
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
            raise ValueError("must be s3://bucket/prefix/, for example s3://models/tiny/")
        return s3 if s3.endswith("/") else f"{s3}/"

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: str | None) -> str | None:
        if folder is None:
            return None
        path = os.path.normpath(os.path.expanduser(folder))
        if not os.path.isabs(path) or path == "/":
            raise ValueError("must be an absolute path, for example /srv/models/tiny or ~/models/tiny")
        return path

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        places = [name for name in ("hub", "s3", "folder") if getattr(self, name) is not None]
        if len(places) != 1:
            raise ValueError(f"needs exactly one of hub, s3 and folder; got {' and '.join(places) or 'none of them'}")
        stray = [] if self.hub or self.ref == "main" else ["ref"]
        stray += ["prereleases"] if self.prereleases and not self.hub else []
        if not self.s3:
            stray += [name for name in ("region", "endpoint") if getattr(self, name)]
            stray += ["requester-pays"] if self.requester_pays else []
        if stray:
            raise ValueError(f"{', '.join(stray)} cannot be used with {places[0]}: remove it")
        return self


def _matches(path: str, globs: tuple[Glob, ...]) -> bool:
    return any(fnmatchcase(path, f"{glob}*" if glob.endswith("/") else glob) for glob in globs)
