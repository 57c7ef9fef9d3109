"""The base of every section of a model file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section refuses fields that it does not know, and cannot be changed.

    The text below each field is its description in docs/model-file.md and in the JSON schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    FORMER: ClassVar[Mapping[str, str]] = {}
    """Names that others use for a field of this section, or used once, and what to write today."""
