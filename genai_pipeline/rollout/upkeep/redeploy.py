"""Bring the objects of the live release to what this code renders, while it serves.

apply (surge: old pods stay until new ones are ready) -> wait with a diagnosis -> prove through the stable address ->
the record. Why it is due stands in the record: rendered by other code, or drifted. Killed anywhere, a rerun goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError, NotReady, Refused
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Record
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.k8s.render import AGENT_KINDS, Objects
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidate import AGENT_DEADLINE_S, raise_to_fewest
from genai_pipeline.rollout.switch.traffic import Traffic
from genai_pipeline.rollout.upkeep.drift import (
    AGENT,
    DEPLOYED,
    Drift,
    agent_changes,
    as_released,
    deployed,
    drift_of,
    rendered_live,
)

DRIFT, BEGUN, TRIED = "drift", "redeploys", "redeploy"
"""Keys of a record's facts: what has drifted, how many redeploys were begun ever, and what was tried last."""
ATTEMPTS = 3
"""For one cause, where a run is killed or the cluster does not answer. What fails is not tried again."""


@dataclass(frozen=True)
class Due:
    """A redeploy to request. `run_key` is the same for the same cause, until a run has begun."""

    model: str
    release: str
    fingerprint: str
    reason: str
    run_key: str


def due(spec: ModelSpec, record: Record, now_deployed: Mapping[str, Any]) -> Due | None:
    """Whether the live release has to be deployed again. Pure. None too where the same was tried and failed.

    Args:
        now_deployed: `drift.deployed` of this code.
    """
    had: Mapping[str, Any] = record.facts.get(DEPLOYED) or {}
    drifted: Mapping[str, str] = record.facts.get(DRIFT) or {}
    if had.get("fingerprint") != now_deployed["fingerprint"]:
        fingerprint, reason = now_deployed["fingerprint"], _changed(had, now_deployed)
    elif drifted and spec.rollout.self_heal:
        fingerprint, reason = drifted["fingerprint"], drifted["reason"]
    else:
        return None
    tried = record.facts.get(TRIED) or {}
    if tried.get("fingerprint") == fingerprint and (tried.get("failed") or tried["attempts"] >= ATTEMPTS):
        return None
    times = record.facts.get(BEGUN, 0)
    run_key = f"redeploy:{record.model}:{record.release}:{fingerprint}" + (f":{times}" if times else "")
    return Due(record.model, record.release, fingerprint, reason, run_key)


def _changed(had: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    before = had.get("version", "unknown")
    agent = agent_changes(had.get(AGENT), now.get(AGENT))
    if before != now["version"]:
        return "; ".join(filter(None, [f"code location {before} -> {now['version']}", agent]))
    return (
        agent or f"code location {before}: it renders other objects ({had.get('fingerprint')} -> {now['fingerprint']})"
    )


class Redeploy:
    """Every method may be repeated."""

    def __init__(
        self,
        cluster: Cluster,
        records: Records,
        traffic: Traffic,
        notices: Notices,
        profile: Profile,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._cluster, self._records, self._traffic = cluster, records, traffic
        self._notices, self._profile, self._now = notices, profile, now

    def deployed(self, spec: ModelSpec, record: Record) -> dict[str, Any]:
        """What this code would deploy of a release. Touches no network."""
        return deployed(*as_released(spec, record), self._profile)

    def note_drift(self, spec: ModelSpec, record: Record, drift: Drift) -> None:
        """Remember what the hourly comparison found, and tell of what nobody sets right. New drift is told once."""
        before = record.facts.get(DRIFT) or {}
        if not drift:
            if before:
                self._note(record, {DRIFT: None, TRIED: None}, "no longer drifted")
            return
        if before.get("fingerprint") == drift.fingerprint:
            return
        found = {"fingerprint": drift.fingerprint, "reason": drift.reason, "at": self._now()}
        if not spec.rollout.self_heal:
            self._tell(NoticeKind.DRIFT, record, f"{drift.reason}. Set it right, or set rollout.self_heal: true.")
        self._note(record, {DRIFT: found}, drift.reason)

    def carry_out(
        self, spec: ModelSpec, reason: str, fingerprint: str, say: Callable[[str], None]
    ) -> list[dict[str, str]]:
        """Redeploy what is live; returns the differences that there were, as rows.

        Raises: NotReady, Refused: told, and not tried again for the same cause. Unavailable: nothing was found.
        """
        live = self._records.live(spec.name)
        if live is None:
            raise Refused(f"No release of {spec.name} is live.", "There is nothing to redeploy.")
        record = self._begun(self._records.require(spec.name, live.release), fingerprint)
        try:
            return self._carry_out(spec, record, reason, say)
        except (NotReady, Refused) as error:
            self._note(record, {TRIED: {**record.facts[TRIED], "failed": True}}, f"redeploy failed: {error}")
            self._tell(NoticeKind.REDEPLOY_FAILED, record, f"{reason}. {error}")
            raise

    def _begun(self, record: Record, fingerprint: str) -> Record:
        """Write the attempt down first: a run that is killed has had one, and the next has another key."""
        tried = record.facts.get(TRIED) or {}
        attempts = tried.get("attempts", 0) if tried.get("fingerprint") == fingerprint else 0
        trying = {"fingerprint": fingerprint, "attempts": attempts + 1}
        return self._note(record, {TRIED: trying, BEGUN: record.facts.get(BEGUN, 0) + 1})

    def _carry_out(
        self, spec: ModelSpec, record: Record, reason: str, say: Callable[[str], None]
    ) -> list[dict[str, str]]:
        own, release = as_released(spec, record)
        objects = rendered_live(own, release, self._profile)
        self._remove_what_is_switched_off(release, objects)
        drift = drift_of(self._cluster, objects)
        say(f"{len(drift.differences)} fields of {release.id} differ from what is rendered")
        if drift:
            self._cluster.apply(objects, take_back=spec.rollout.self_heal)
            raise_to_fewest(self._cluster, release, self._profile)
            crash_point("redeploy.applied")
        self._refuse_if_not_live(release)
        self._cluster.wait_ready(release.object_name, own.serving.startup_deadline_s, say)
        one_by_one_s = AGENT_DEADLINE_S * (self._profile.agent_replicas_max or self._profile.agent_replicas)
        self._cluster.wait_ready(release.agent_object_name, one_by_one_s, say)
        why = self._traffic.why_not_served_by(release)
        if why:
            raise NotReady(f"{release.model}@{release.id} does not answer after the redeploy: {why}.", "See its logs.")
        crash_point("redeploy.proven")
        facts = {DEPLOYED: deployed(own, release, self._profile), DRIFT: None, TRIED: None}
        self._note(record, facts, f"redeployed: {reason}" if drift else f"redeploy ({reason}): nothing differs")
        return drift.rows

    def _remove_what_is_switched_off(self, release: Release, objects: Objects) -> None:
        """An autoscaler that is left behind would fight the number of replicas that is rendered now."""
        rendered = {o["kind"] for o in objects if o["metadata"]["name"] == release.agent_object_name}
        for kind in AGENT_KINDS:
            if kind not in rendered:
                self._cluster.delete(kind, release.agent_object_name)

    def _refuse_if_not_live(self, release: Release) -> None:
        """A rollback by hand waits for nobody: where it came first, the stable Services are not ours to apply."""
        live = self._records.live(release.model)
        if live and live.release != release.id:
            self._traffic.move(self._records.require(release.model, live.release).as_release)
            raise Refused(f"{release.id} is not live any more.", f"{live.release} is; nothing to do.")

    def _note(self, record: Record, facts: Mapping[str, Any], event: str = "") -> Record:
        return self._records.update(
            record.model, record.release, lambda r: replace(r, facts={**r.facts, **facts}), event
        )

    def _tell(self, kind: NoticeKind, record: Record, text: str) -> None:
        try:
            self._notices.write(Notice(kind, record.model, record.release, text, self._now()))
        except GenaiError as error:  # it stands in the record as well, and must not hide what happened
            self._note(record, {}, f"no notice could be written: {error}")
