"""Let an engine sleep instead of stopping it, and wake it again (`serving.standby: sleep`).

A sleeping engine keeps its process and its weights in the host's memory, and frees its GPU. Its pod is not ready, so
it counts as stopped wherever traffic may go; a Service of its own reaches it. It is trusted only if it answers a fixed
prompt as it did before it slept. Else it is stopped, and starts from zero.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import NotFound, Refused, Unavailable
from genai_pipeline.core.facts import Asleep, Facts
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.progress import Log
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.inference.abc import StandbyDoor
from genai_pipeline.k8s.render import release_alias
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.engine_access import engine_token
from genai_pipeline.rollout.switch.workloads import workload_of

SLEEP_WITHIN_S = 180.0
"""The first sleep of an engine took 12.6 s for 16 GB of weights, since the host's memory is allocated then."""
_NO_ANSWER = (Unavailable, NotFound, Refused)


class Standby:
    """Let engines sleep, and wake them. Every method may be repeated."""

    def __init__(self, gateways: Gateways, now: Callable[[], str] = utc_now) -> None:
        self._gateways = gateways
        self._cluster = gateways.cluster
        self._records = Records(gateways.store)
        self._now = now

    def is_asleep(self, release: Release) -> bool:
        """Return whether its engine turns users away because it sleeps, or is just being woken.

        An engine that does not answer does not sleep: its own probes judge it.
        """
        try:
            return release.sleeps and self._runs(release) and self._door(release).is_sleeping()
        except _NO_ANSWER:
            return False

    def sleep(self, release: Release, log: Log) -> bool:
        """Put the engine to sleep. Ask after its drain: what runs is aborted.

        Returns: False: it is as it was, or it was stopped because it did not fall asleep. The log says which.
        """
        if not release.sleeps or not self._runs(release):
            return False
        try:
            door = self._door(release)
            sleeps_already = door.is_sleeping()
            answer = "" if sleeps_already else self._known_answer(door, release)
        except _NO_ANSWER as error:
            log(f"{release.id} cannot sleep: {error}")
            return False
        if not sleeps_already and not answer:
            log(f"{release.id} does not sleep: it gives two answers to one prompt, so none could be known again")
            return False
        if answer:
            self._note(release, Asleep(answer=answer, at=self._now()))
        crash_point("standby.answer_known")
        began = time.monotonic()
        try:
            door.sleep(SLEEP_WITHIN_S)
        except _NO_ANSWER as error:
            self._give_up(release, f"it did not fall asleep: {error}", log)
            return False
        crash_point("standby.asleep")
        if answer:
            seconds = round(time.monotonic() - began, 2)
            self._note(release, Asleep(answer=answer, at=self._now(), seconds=seconds), f"sleeps, after {seconds:g} s")
        log(f"{release.id} sleeps, and its GPU is free")
        return True

    def wake(self, release: Release, within_s: float, log: Log) -> bool:
        """Wake the engine if it sleeps. It lets users in only if it answers as it did before.

        Returns: True: it slept and lets users in again. False: it did not sleep, or it was stopped, and the record says
            why.
        Raises: NotReady: it was to be stopped, and its pods are not gone in time.
        """
        if not self.is_asleep(release):
            return False
        began = time.monotonic()
        why = self._why_not_woken(release, within_s)
        if why:
            self._give_up(release, why, log)
            workload_of(self._cluster, release).stop(within_s)
            return False
        crash_point("standby.opened")
        log(f"{release.id} is awake after {time.monotonic() - began:.2f} s, and answers as before")
        return True

    def _why_not_woken(self, release: Release, within_s: float) -> str:
        known = self._records.require(release.model, release.id).facts.asleep
        try:
            door = self._door(release)
            door.wake_up(within_s)
            crash_point("standby.woken")
            said = door.known_answer(release_alias(release))
            if known is None:
                return "its answer from before it slept is not known"
            if said != known.answer:
                return f"after waking it answered {said!r}, and {known.answer!r} before"
            door.open()
        except _NO_ANSWER as error:
            return f"it did not wake: {error}"
        return ""

    def _known_answer(self, door: StandbyDoor, release: Release) -> str:
        """Return what it answers twice in a row, or an empty text if the answers differ."""
        first, second = (door.known_answer(release_alias(release)) for _ in range(2))
        return first if first == second else ""

    def _give_up(self, release: Release, why: str, log: Log) -> None:
        """Write down why it is not trusted, and stop it without waiting."""
        said = f"standby: {why}. It starts from zero when it is needed"
        log(f"{release.id} {said}")
        self._records.update(release.model, release.id, lambda r: r.with_facts(Facts(asleep=None)), said)
        workload_of(self._cluster, release).tell_to_stop()

    def _note(self, release: Release, asleep: Asleep, event: str = "") -> None:
        self._records.update(release.model, release.id, lambda r: r.with_facts(Facts(asleep=asleep)), event)

    def _runs(self, release: Release) -> bool:
        found = workload_of(self._cluster, release).found()
        return found is not None and bool(found["spec"].get("replicas"))

    def _door(self, release: Release) -> StandbyDoor:
        url = self._cluster.endpoint(release.standby_name)
        return self._gateways.inference(url).standby(engine_token(self._cluster))
