"""How a rollout under way gives way to a newer release: it notices at its next step, or at its next word."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from genai_pipeline.core.errors import GenaiError, ReleaseRefused, Superseded
from genai_pipeline.core.record import ENDED_BADLY, Phase, Record
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.ending import Ending

LOOK_EVERY_S = 3.0

Say = Callable[[str], None]


class Overtaking:
    """Looks at the record whether its release was superseded, and ends it where it was."""

    def __init__(self, records: Records, ending: Ending, clock: Callable[[], float] = time.monotonic) -> None:
        self._records = records
        self._ending = ending
        self._clock = clock

    def refuse_overtaken(self, record: Record) -> None:
        """Raises: Superseded: and this is not the release that users talk to."""
        if record.phase is not Phase.SUPERSEDED:
            return
        live = self._records.live(record.model)
        if live and live.release == record.release:
            return
        who = f"{record.model}@{record.release}"
        raise Superseded(
            f"{who} was superseded: {record.reason}.", "It is rolled out again when it is asked for again."
        )

    def refuse_ended(self, record: Record) -> None:
        """Raises: ReleaseRefused: it is in quarantine, and nobody would take away what a run starts for it."""
        if record.phase in ENDED_BADLY:
            raise ReleaseRefused(
                f"{record.model}@{record.release} was {record.phase}: {record.reason}.",
                "It is tried again when its revision or serving changes.",
            )

    def watched(self, record: Record, say: Say) -> Say:
        """`say`, that looks at the record every few seconds and raises Superseded."""
        looked_at = self._clock()

        def say_and_look(text: str) -> None:
            nonlocal looked_at
            say(text)
            if self._clock() - looked_at < LOOK_EVERY_S:
                return
            looked_at = self._clock()
            now = None
            with suppress(GenaiError):  # what cannot be looked at now is looked at with the next word
                now = self._records.get(record.model, record.release)
            if now:
                self.refuse_overtaken(now)

        return say_and_look

    def give_way(self, record: Record) -> None:
        """Take the candidate away; what does not go now is taken away by the controller."""
        with suppress(GenaiError):
            self._ending.finish(self._records.require(record.model, record.release))
