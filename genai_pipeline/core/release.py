"""A release: one revision of a model with one serving configuration. Immutable."""

from __future__ import annotations

import re
from dataclasses import dataclass

from genai_pipeline.core.errors import NotFound
from genai_pipeline.core.model_spec import ModelSpec

_ID = re.compile(r"^(?P<revision>[0-9a-f]{12})-(?P<config>[0-9a-f]{6})$")


@dataclass(frozen=True)
class Release:
    """`id` is the Dagster partition key: the revision's first 12 and the config hash's first 6 hex digits."""

    model: str
    revision: str
    config_hash: str

    @classmethod
    def of(cls, spec: ModelSpec, revision: str) -> Release:
        return cls(spec.name, revision, spec.serving.config_hash)

    @property
    def id(self) -> str:
        return f"{self.revision[:12]}-{self.config_hash[:6]}"

    @property
    def object_name(self) -> str:
        """Name of this release's engine objects in the cluster; within 63 characters by ModelSpec.name."""
        return f"{self.model}-{self.id}"

    @property
    def agent_object_name(self) -> str:
        return f"{self.model}-agent-{self.id}"


def check_release_id(text: str) -> str:
    """Return `text` if it has the form of a release id.

    Raises: NotFound: it has not.
    """
    if not _ID.match(text):
        raise NotFound(
            f"{text!r} is not a release id.", "A release id looks like 0123456789ab-cdef01; see `genai status`."
        )
    return text
