"""The results of a release on a suite, as JSON lines in the store: a header, then a line for each run of a case.

    evaluations/<model>/<release>/<suite>.jsonl

The key is not below `releases/`, because everything there is read when records are listed. Each measurement of a
release replaces the one before in one piece, so that writing it again changes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from genai_pipeline.core.errors import GenaiError, NotFound
from genai_pipeline.evaluation.outcome import CaseOutcome, RunOutcome
from genai_pipeline.gateways.store.abc import ObjectStore

SCHEMA = 1
SCORING = 2
"""To be raised when the scoring rules change, so that results by different rules are not compared."""


class BrokenResults(GenaiError):
    """Stored results cannot be read."""


@dataclass(frozen=True)
class Results:
    """What one release did on one suite.

    Args:
        digest: of the suite (`Suite.digest`): what was asked and what is right.
        at: when the asking began; ISO 8601 UTC.
        seconds: wall time of the whole.
        judge: which model judged free text, and how it was asked; None: free text was not judged.
        sampling: temperature and seed of the requests; with a seed of None the server chose.
        usd_per_million_tokens: price of generated tokens; None: not known.
    """

    suite: str
    digest: str
    cases: tuple[CaseOutcome, ...]
    at: str
    model: str = ""
    release: str = ""
    seconds: float = 0.0
    concurrency: int = 1
    judge: Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0.0, "seed": None})
    versions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    usd_per_million_tokens: float | None = None
    scoring: int = SCORING

    @property
    def solved(self) -> int:
        return sum(case.solved is True for case in self.cases)

    @property
    def measured(self) -> int:
        return sum(case.solved is not None for case in self.cases)

    @property
    def pass_rate(self) -> float | None:
        """Share of the measured cases that are solved, by weight, or None if no case was measured."""
        weights = [(case.solved, case.weight) for case in self.cases if case.solved is not None]
        total = sum(weight for _, weight in weights)
        return sum(weight for solved, weight in weights if solved) / total if total else None

    @property
    def flaky(self) -> list[str]:
        return [case.name for case in self.cases if case.flaky]

    def cost_usd(self, case: CaseOutcome) -> float | None:
        """Return the price of the tokens that all runs of a case generated, or None where the price is not known."""
        price = self.usd_per_million_tokens
        return None if price is None else case.tokens[1] * price / 1_000_000

    def why_not_like(self, other: Results) -> str:
        """Return why the two cannot be compared, or an empty text if they can."""
        mine, theirs = ({case.name: len(case.runs) for case in each.cases} for each in (self, other))
        if (self.suite, self.digest) != (other.suite, other.digest):
            return "they are for another version of the suite"
        if self.scoring != other.scoring:
            return "they were scored by other rules"
        if self.judge != other.judge:
            return "they were not judged by the same judge"
        return "" if mine == theirs else "they are for other cases, or another number of runs"

    def to_jsonl(self) -> bytes:
        header = {
            "kind": "header",
            "schema": SCHEMA,
            **{name: getattr(self, name) for name in _HEADER},
            "cases": len(self.cases),
            "solved": self.solved,
        }
        lines = [header, *(self._line(case, n, run) for case in self.cases for n, run in enumerate(case.runs, 1))]
        texts = (json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines)
        return b"".join(text.encode("utf-8", "backslashreplace") for text in texts)  # a lone half of an emoji, as JSON

    def _line(self, case: CaseOutcome, number: int, run: RunOutcome) -> dict[str, Any]:
        price = self.usd_per_million_tokens
        cost = None if price is None else round(run.output_tokens * price / 1_000_000, 9)
        about = {"kind": "run", "case": case.name, "tags": list(case.tags), "weight": case.weight, "run": number}
        return about | run.to_json() | {"cost_usd": cost}

    @classmethod
    def from_jsonl(cls, body: bytes) -> Results:
        """Raises: BrokenResults."""
        try:
            header, *lines = map(_read, filter(None, body.decode().split("\n")))  # texts may hold U+2028
            if header["kind"] != "header" or header["schema"] != SCHEMA:
                raise ValueError(f"schema {header.get('schema')!r} is not {SCHEMA}")
            found = cls(cases=tuple(_cases(lines)), **{name: header[name] for name in _HEADER})
            math.isfinite(found.usd_per_million_tokens or 0)  # raises TypeError where it is not a number
            if (len(found.cases), found.solved) != (header["cases"], header["solved"]):
                raise ValueError(f"{len(found.cases)} of {header['cases']} cases are complete")
            return found
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BrokenResults(f"Stored results cannot be read ({error!r}).", "Evaluate the release again.") from error


_HEADER = tuple(name for name in Results.__dataclass_fields__ if name != "cases")
_ABOUT = ("kind", "case", "tags", "weight", "run", "cost_usd")


def _read(line: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    return json.loads(line, parse_constant=refuse)


def _cases(lines: list[Mapping[str, Any]]) -> Iterator[CaseOutcome]:
    for name, group in groupby(lines, key=lambda line: str(line["case"])):
        mine = list(group)
        if [line["run"] for line in mine] != list(range(1, len(mine) + 1)):
            raise ValueError(f"the runs of {name} are not numbered from 1 without a gap")
        runs = [RunOutcome.from_json({k: v for k, v in line.items() if k not in _ABOUT}) for line in mine]
        yield CaseOutcome(name, tuple(mine[0]["tags"]), float(mine[0]["weight"]), tuple(runs))


def results_prefix(model: str) -> str:
    return f"evaluations/{model}/"


def results_key(model: str, release: str, suite: str) -> str:
    return f"{results_prefix(model)}{release}/{suite}.jsonl"


class ResultsStore:
    """Reads and writes the newest results of releases."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def write(self, results: Results) -> str:
        """Write the results and return their address. Raises: StoreUnavailable."""
        key = results_key(results.model, results.release, results.suite)
        self._store.put(key, results.to_jsonl())
        return self._store.url(key)

    def read(self, model: str, release: str, suite: str) -> Results | None:
        """Return the newest results, or None. Raises: BrokenResults, StoreUnavailable."""
        try:
            return Results.from_jsonl(self._store.get(results_key(model, release, suite))[0])
        except NotFound:
            return None
