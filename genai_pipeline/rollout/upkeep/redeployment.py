"""Bring the objects of the live release to what this code renders, while it serves.

apply (old pods stay until new ones are ready) -> wait with a diagnosis -> prove through the stable address -> record.
The record shows why a redeploy is due: other code rendered the objects, or they drifted. Killed anywhere, a rerun goes
on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError, NotReady, Refused
from genai_pipeline.core.facts import Deployed, Facts, NotedDrift, RedeployAttempts
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.progress import Log
from genai_pipeline.core.record import Record
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.k8s.engine_autoscaler import SCALER_KINDS
from genai_pipeline.k8s.engine_cache import keeps_cache
from genai_pipeline.k8s.render import AGENT_KINDS, Objects, render_live
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.cache_pins import CachePins
from genai_pipeline.rollout.switch.candidates import AGENT_DEADLINE_S, start_fewest_agents
from genai_pipeline.rollout.switch.traffic import Traffic
from genai_pipeline.rollout.switch.workloads import workload_of
from genai_pipeline.rollout.upkeep.drift_detection import (
    NEVER_EDITED,
    Drift,
    agent_changes,
    as_released,
    deployed,
    drift_of,
    without,
)

ATTEMPTS = 3
"""Tries for one cause, if a run is killed or the cluster does not answer. A redeploy that fails is not tried again."""


@dataclass(frozen=True)
class Due:
    """A redeploy to request. `run_key` stays the same for one cause until its run has begun."""

    model: str
    release: str
    fingerprint: str
    reason: str
    run_key: str


def due(spec: ModelSpec, record: Record, now_deployed: Deployed) -> Due | None:
    """Return the redeploy that the live release needs. Pure.

    Args:
        now_deployed: `drift_detection.deployed` of this code.
    Returns: None if it needs none, or if a redeploy for the same cause failed or was tried too often.
    """
    had, drifted = record.facts.deployed or Deployed(), record.facts.drift
    if had.fingerprint != now_deployed.fingerprint:
        fingerprint, reason = now_deployed.fingerprint, _changed(had, now_deployed)
    elif drifted and spec.rollout.self_heal:
        fingerprint, reason = drifted.fingerprint, drifted.reason
    else:
        return None
    tried = record.facts.redeploy
    if tried and tried.fingerprint == fingerprint and (tried.failed or tried.attempts >= ATTEMPTS):
        return None
    times = record.facts.redeploys
    run_key = f"redeploy:{record.model}:{record.release}:{fingerprint}" + (f":{times}" if times else "")
    return Due(record.model, record.release, fingerprint, reason, run_key)


def _changed(had: Deployed, now: Deployed) -> str:
    agent = agent_changes(had.agent, now.agent)
    if had.version != now.version:
        return "; ".join(filter(None, [f"code location {had.version} -> {now.version}", agent]))
    digests = f"{had.fingerprint or 'unknown'} -> {now.fingerprint}"
    return agent or f"code location {had.version}: it renders other objects ({digests})"


class Redeploy:
    """Redeploy live releases. Every method may be repeated."""

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
        self._pins = CachePins(cluster, records, profile)

    def deployed(self, spec: ModelSpec, record: Record) -> Deployed:
        """Return what this code would deploy for a release. Touches no network."""
        return deployed(*as_released(spec, record), self._profile)

    def note_drift(self, spec: ModelSpec, record: Record, drift: Drift) -> None:
        """Record the drift that the hourly check found. Write one notice for new drift that is not healed by itself."""
        before = record.facts.drift
        if not drift:
            if before:
                self._note(record, Facts(drift=None, redeploy=None), "no longer drifted")
            return
        if before and before.fingerprint == drift.fingerprint:
            return
        found = NotedDrift(fingerprint=drift.fingerprint, reason=drift.reason, at=self._now())
        if not spec.rollout.self_heal:
            self._write_notice(NoticeKind.DRIFT, record, f"{drift.reason}. Correct it, or set rollout.self_heal: true.")
        self._note(record, Facts(drift=found), drift.reason)

    def carry_out(self, spec: ModelSpec, reason: str, fingerprint: str, log: Log) -> list[dict[str, str]]:
        """Redeploy the live release.

        Args:
            reason: why, for the record. fingerprint: of the cause.
        Returns: The differences before the redeploy, as rows of a table.
        Raises: NotReady, Refused: a notice was written; the same cause is not tried again. Unavailable: the cluster or
            the store did not answer; it may be tried again.
        """
        live = self._records.live(spec.name)
        if live is None:
            raise Refused(f"No release of {spec.name} is live.", "There is nothing to redeploy.")
        record = self._records.require(spec.name, live.release)
        trying = _one_more(record.facts.redeploy, fingerprint)
        # The attempt is written down first: a run that is killed has had one, and the next one has another key.
        record = self._note(record, Facts(redeploy=trying, redeploys=record.facts.redeploys + 1))
        try:
            return self._carry_out(spec, record, reason, log)
        except (NotReady, Refused) as error:
            ended = Facts(redeploy=trying.model_copy(update={"failed": True}))
            self._note(record, ended, f"redeploy failed: {error}")
            self._write_notice(NoticeKind.REDEPLOY_FAILED, record, f"{reason}. {error}")
            raise

    def _carry_out(self, spec: ModelSpec, record: Record, reason: str, log: Log) -> list[dict[str, str]]:
        own, release = as_released(spec, record)
        objects = render_live(own, release, self._profile)
        workload_of(self._cluster, release).refuse_unknown(objects)
        self._remove_what_is_switched_off(release, objects)
        drift = drift_of(self._cluster, objects)
        log(f"{len(drift.differences)} fields of {release.id} differ from what is rendered")
        left = drift.never_edited
        if drift:
            if keeps_cache(own.serving, self._profile):
                self._pins.apply(release, log)
            self._cluster.apply(without(objects, left), take_back=spec.rollout.self_heal)
            workload_of(self._cluster, release).raise_to_fewest(objects)
            start_fewest_agents(self._cluster, release, self._profile)
            crash_point("redeploy.applied")
        self._refuse_if_not_live(release)
        workload_of(self._cluster, release).wait(own.serving.startup_deadline_s, log)
        if release.has_agent:
            one_by_one_s = AGENT_DEADLINE_S * (self._profile.agent_replicas_max or self._profile.agent_replicas)
            workload_of(self._cluster, release, "agent").wait(one_by_one_s, log)
        why = self._traffic.why_not_served_by(release)
        if why:
            raise NotReady(f"{release.model}@{release.id} does not answer after the redeploy: {why}.", "See its logs.")
        crash_point("redeploy.proven")
        self._note_done(record, deployed(own, release, self._profile), reason, drift, log)
        return drift.rows

    def _note_done(self, record: Record, now: Deployed, reason: str, drift: Drift, log: Log) -> None:
        """Record what was done. What is never edited stays drifted, and is not tried again for the same cause."""
        left = drift.never_edited
        event = f"redeployed: {reason}" if drift else f"redeploy ({reason}): nothing differs"
        if not left:
            self._note(record, Facts(deployed=now, drift=None, redeploy=None), event)
            return
        text = f"{left.reason}. {NEVER_EDITED}"
        log(text)
        tried = RedeployAttempts(fingerprint=left.fingerprint, attempts=1, failed=True)
        noted = NotedDrift(fingerprint=left.fingerprint, reason=left.reason, at=self._now())
        self._note(record, Facts(deployed=now, drift=noted, redeploy=tried), f"{event}; left as it is: {text}")
        self._write_notice(NoticeKind.DRIFT, record, text)

    def _remove_what_is_switched_off(self, release: Release, objects: Objects) -> None:
        """Delete objects that are no longer rendered: a left autoscaler would change the replicas."""
        rendered = {(o["kind"], o["metadata"]["name"]) for o in objects}
        agent = [(kind, release.agent_object_name) for kind in AGENT_KINDS if release.has_agent]
        scaler = [(kind, release.object_name) for kind in SCALER_KINDS if release.scales]
        for kind, name in [*agent, *scaler]:
            if (kind, name) not in rendered:
                self._cluster.delete(kind, name)

    def _refuse_if_not_live(self, release: Release) -> None:
        """Move the selectors back if another release went live meanwhile: a rollback waits for no redeploy."""
        live = self._records.live(release.model)
        if live and live.release != release.id:
            self._traffic.move(self._records.require(release.model, live.release).as_release)
            raise Refused(f"{release.id} is not live any more.", f"{live.release} is live: there is nothing to do.")

    def _note(self, record: Record, facts: Facts, event: str = "") -> Record:
        return self._records.update(record.model, record.release, lambda r: r.with_facts(facts), event)

    def _write_notice(self, kind: NoticeKind, record: Record, text: str) -> None:
        try:
            self._notices.write(Notice(kind, record.model, record.release, text, self._now()))
        except GenaiError as error:  # the record has the text too, and this must not hide the first error
            self._note(record, Facts(), f"no notice could be written: {error}")


def _one_more(tried: RedeployAttempts | None, fingerprint: str) -> RedeployAttempts:
    attempts = tried.attempts if tried and tried.fingerprint == fingerprint else 0
    return RedeployAttempts(fingerprint=fingerprint, attempts=attempts + 1)
