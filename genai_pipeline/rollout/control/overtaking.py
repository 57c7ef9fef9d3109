"""Let a rollout under way end when a newer release supersedes it. It notices at its next asset or log line."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from genai_pipeline.core.errors import GenaiError, ReleaseRefused, Superseded
from genai_pipeline.core.progress import Log
from genai_pipeline.core.record import ENDED_BADLY, Phase, Record
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.ending import Ending

LOOK_EVERY_S = 3.0


class Overtaking:
    """Find out from the record whether its release was superseded, and end its rollout."""

    def __init__(self, records: Records, ending: Ending, clock: Callable[[], float] = time.monotonic) -> None:
        self._records = records
        self._ending = ending
        self._clock = clock

    def refuse_overtaken(self, record: Record) -> None:
        """Raises: Superseded: a newer release is asked for, and this one is not live."""
        if record.phase is not Phase.SUPERSEDED:
            return
        live = self._records.live(record.model)
        if live and live.release == record.release:
            return
        who = f"{record.model}@{record.release}"
        raise Superseded(
            f"{who} was superseded: {record.reason}.", "Its rollout starts again when its version is asked for again."
        )

    def refuse_ended(self, record: Record) -> None:
        """Raises: ReleaseRefused: it is in quarantine, and nothing would remove the objects that a run starts."""
        if record.phase in ENDED_BADLY:
            raise ReleaseRefused(
                f"{record.model}@{record.release} was {record.phase}: {record.reason}.",
                "Publish a new revision or change `serving`: that makes a new release.",
            )

    def watched(self, record: Record, log: Log) -> Log:
        """Return a function that logs, and every few seconds reads the record and may raise Superseded."""
        looked_at = self._clock()

        def log_and_look(text: str) -> None:
            nonlocal looked_at
            log(text)
            if self._clock() - looked_at < LOOK_EVERY_S:
                return
            looked_at = self._clock()
            now = None
            with suppress(GenaiError):  # a record that cannot be read now is read with the next line
                now = self._records.get(record.model, record.release)
            if now:
                self.refuse_overtaken(now)

        return log_and_look

    def give_way(self, record: Record) -> None:
        """Remove the candidate. The controller removes what does not go now."""
        with suppress(GenaiError):
            self._ending.finish(self._records.require(record.model, record.release))
