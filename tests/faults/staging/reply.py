"""One kind of bad reply, and what a stager shall make of it."""

from __future__ import annotations

from dataclasses import dataclass

from genai_pipeline.core.errors import GenaiError
from tests.fakes.bad_replies import Which
from tests.fakes.exchange import Fault


@dataclass(frozen=True)
class BadReply:
    """Args:
    which: the requests that it answers.
    error: what a stager raises that gets nothing else; None if it gets on with it nevertheless, byte by byte.
    survived: so many in a row do no harm.
    waits_s: what it asks to wait before the next try.
    says: a pattern of the message; empty for any.
    """

    name: str
    which: Which
    fault: Fault
    error: type[GenaiError] | None
    survived: int = 3
    waits_s: float = 0.0
    says: str = ""

    def __str__(self) -> str:
        return self.name.replace(" ", "_")
