"""Compare what this code renders for the live release with what the cluster has.

The record holds the digest of what was rendered when the candidate was started. If the digest is another one now, this
code, its images or the profile changed. The cluster itself is asked for the differences.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.facts import Deployed
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, passed
from genai_pipeline.gateways.cluster.abc import Cluster, Difference, mapping_as_dict
from genai_pipeline.k8s.agent import agent_settings
from genai_pipeline.k8s.render import Objects, package_version, render_live, service_url

CHECK = "matches_rendered"
SHOWN_MAX = 3
NEVER_EDITED = (
    "A RayService that serves is left as it is: an edit would restart its replicas. The next release renews it."
)


@dataclass(frozen=True)
class Drift:
    """Fields whose values in the cluster are not the rendered ones, or an empty tuple if all are."""

    differences: Sequence[Difference] = ()

    def __bool__(self) -> bool:
        return bool(self.differences)

    @property
    def never_edited(self) -> Drift:
        """Return the differences of a RayService that exists."""
        return Drift(tuple(d for d in self.differences if d.kind == "RayService" and not _is_missing(d)))

    @property
    def fingerprint(self) -> str:
        """Return a digest: the same differences have the same one."""
        return _digest([[d.kind, d.name, d.field, d.wanted, d.live] for d in self.differences])

    @property
    def reason(self) -> str:
        """Return the differences in words, as `drift: Deployment tiny-0123 spec.replicas: 2, rendered 1`."""
        said = [f"{d.kind} {d.name} {_what(d)}" for d in self.differences[:SHOWN_MAX]]
        more = len(self.differences) - SHOWN_MAX
        return f"drift: {'; '.join(said)}" + (f"; and {more} more" if more > 0 else "")

    @property
    def rows(self) -> list[dict[str, str]]:
        """Return the differences as rows of a table."""
        return [
            {
                "object": f"{d.kind} {d.name}",
                "field": d.field,
                "in the cluster": _text(d.live),
                "rendered": _text(d.wanted),
            }
            for d in self.differences
        ]


def as_released(spec: ModelSpec, record: Record) -> tuple[ModelSpec, Release]:
    """Return the model file of today with what makes the release as it was, and the release."""
    own = spec.as_released(record.model_spec)
    return own, Release.of(own, record.revision)


def deployed(spec: ModelSpec, release: Release, profile: Profile) -> Deployed:
    """Return what the record remembers of this code, of what it renders, and of the agent's settings."""
    engine = service_url(release.object_name, "engine", profile)
    return Deployed(
        version=package_version(),
        fingerprint=_digest(render_live(spec, release, profile)),
        agent=agent_settings(spec, release, profile, engine) if release.has_agent else None,
    )


def agent_changes(had: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    """Return changes in the chart's words, as `agent: image changed from a:1 to a:2`.

    Returns: Empty if nothing changed, or if one of the two is not known.
    """
    if not had or not now:
        return ""
    names = [name for name in sorted({*had, *now}, key=_image_first) if had.get(name) != now.get(name)]
    if "image" in names:  # its parts repeat that
        names = [name for name in names if not name.startswith("image.")]
    said = [f"{name} changed from {_text(had.get(name), 80)} to {_text(now.get(name), 80)}" for name in names]
    more = len(said) - SHOWN_MAX
    text = "; ".join(said[:SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")
    return f"agent: {text}" if said else ""


def _image_first(name: str) -> tuple[bool, str]:
    return name != "image", name


def drift_of(cluster: Cluster, objects: Objects) -> Drift:
    """Return the drift. Raises: ClusterUnavailable. Refused: the cluster would not accept an object at all."""
    return Drift(tuple(cluster.diff(objects, take_back=True)))


def without(objects: Objects, left: Drift) -> Objects:
    """Return the objects that may be applied: all but those that are never edited and differ."""
    kept = {(d.kind, d.name) for d in left.differences}
    return [o for o in objects if (o["kind"], o["metadata"]["name"]) not in kept]


def judge_drift(cluster: Cluster, objects: Objects, release: str) -> tuple[Verdict, Drift]:
    """Return the verdict matches_rendered and the drift. It is inconclusive if the cluster cannot be asked."""
    try:
        drift = drift_of(cluster, objects)
    except GenaiError as error:
        return inconclusive(CHECK, f"{release} was not compared: {error}"), Drift()
    if not drift:
        return passed(CHECK, f"All {len(objects)} objects of {release} are as rendered."), drift
    return failed(CHECK, f"{release}: {drift.reason}.", differences=drift.rows), drift


def _is_missing(difference: Difference) -> bool:
    """Return whether the object itself is missing, not only a field."""
    return difference.live is None and difference.field == "metadata.name"


def _what(difference: Difference) -> str:
    if _is_missing(difference):
        return "is missing"
    return f"{difference.field}: {_text(difference.live, 40)}, rendered {_text(difference.wanted, 40)}"


def _text(value: Any, most: int = 300) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value, default=mapping_as_dict)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=mapping_as_dict).encode()).hexdigest()[:12]
