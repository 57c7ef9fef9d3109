"""What any suite finds: a run of a case, and a case over its runs. Pure data, to and from JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RunOutcome:
    """One run of a case.

    Args:
        solved: whether the answers were right, or None where that was not measured.
        right_tools: whether the right tools were called with the right arguments, or None where that was not measured.
        reason: what was wrong, or why it was not measured, or an empty text if all was right.
        seconds: from the first prompt to the last answer.
        cycles_s: of each request to the model, where they are known.
        input_tokens, output_tokens: of the whole run; 0 where they are not known.
        transcript: JSON-able turns: `prompt`, `response`, `calls`.
    """

    solved: bool | None
    right_tools: bool | None
    reason: str = ""
    seconds: float = 0.0
    cycles_s: tuple[float, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    transcript: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"cycles_s": list(self.cycles_s), "transcript": list(self.transcript)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunOutcome:
        """Raises: TypeError, ValueError, KeyError: the data has another form."""
        run = cls(**{**data, "cycles_s": tuple(data["cycles_s"]), "transcript": tuple(data["transcript"])})
        if not {run.solved, run.right_tools} <= {True, False, None}:
            raise ValueError(f"{run.solved!r} and {run.right_tools!r} must be true, false or null")
        for figure in (run.seconds, run.input_tokens, run.output_tokens, *run.cycles_s):
            math.isfinite(figure)  # raises TypeError where it is not a number
        return run


@dataclass(frozen=True)
class CaseOutcome:
    """A case over its runs; `weight` is how much it counts in the pass rate."""

    name: str
    tags: tuple[str, ...]
    weight: float
    runs: tuple[RunOutcome, ...]

    @property
    def solved(self) -> bool | None:
        """In every run. One unsolved run decides; else one that was not measured leaves it open."""
        return all_right(run.solved for run in self.runs)

    @property
    def flaky(self) -> bool:
        """Solved in some runs and not in others."""
        found = {run.solved for run in self.runs}
        return {True, False} <= found

    @property
    def reason(self) -> str:
        """Of the runs that were not all right, each reason once."""
        return " | ".join(dict.fromkeys(run.reason for run in self.runs if run.reason))

    @property
    def seconds(self) -> float:
        """Mean of its runs."""
        return sum(run.seconds for run in self.runs) / len(self.runs) if self.runs else 0.0

    @property
    def tokens(self) -> tuple[int, int]:
        """Input and output of all its runs."""
        return sum(run.input_tokens for run in self.runs), sum(run.output_tokens for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        runs = [run.to_json() for run in self.runs]
        return {"name": self.name, "tags": list(self.tags), "weight": self.weight, "runs": runs}


def all_right(found: Iterable[bool | None]) -> bool | None:
    """Return False if one is wrong, else None if one was not measured or if there is no outcome, else True."""
    outcomes = set(found)
    if False in outcomes:
        return False
    return None if None in outcomes or not outcomes else True
