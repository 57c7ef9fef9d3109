"""The record of a release: every verdict and timing, kept at `releases/<model>/<release>.json`.

Pure data; `rollout/record/records.py` reads and writes it. The cut-over re-reads it and lets nothing
through that is not all passed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import UnionType
from typing import Any, TypeVar

from genai_pipeline.core.checks import ADDED_LATER, GENERATION, REQUIRED_FOR_LIVE
from genai_pipeline.core.errors import Unreadable
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome, Verdict, worst


class Phase(StrEnum):
    """How far a release got. All but the first three are ends."""

    ROLLING_OUT = "rolling out"
    AWAITING_APPROVAL = "awaiting approval"
    LIVE = "live"
    REPLACED = "replaced"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled back"
    SUPERSEDED = "superseded"


ENDED_BADLY = frozenset({Phase.REJECTED, Phase.ROLLED_BACK})
"""In quarantine: not tried again until the revision or the serving section changes, which makes another release."""
ENDED = ENDED_BADLY | {Phase.REPLACED, Phase.SUPERSEDED}
ON_ITS_WAY = frozenset({Phase.ROLLING_OUT, Phase.AWAITING_APPROVAL})


@dataclass(frozen=True)
class Event:
    """Something that happened to a release; `at` is ISO 8601 UTC."""

    at: str
    what: str


@dataclass(frozen=True)
class Record:
    """Verdicts are keyed `asset.check`, timings (seconds) by asset.

    Args:
        spec: the model file as it was when the release was made, so that it can be served again as it was.
        attempt: runs started for this release, ever; it never goes back, so that run keys stay unique.
        attempts_before: those that belong to an earlier rollout of the same release.
        trigger: what started this rollout, as "new revision 0123abcd of owner/name@main" or "serving.image changed".
        approved: who approved it and when; empty where nobody did.
        promotions: runs started since the last attempt that only move the traffic.
        leftover: it ended, and its objects may still be in the cluster and its end be untold.
        generation: of the list of checks that it is held to; a check that was added later is not missed.
    """

    model: str
    release: str
    revision: str
    spec: Mapping[str, Any]
    phase: Phase = Phase.ROLLING_OUT
    reason: str = ""
    attempt: int = 0
    attempts_before: int = 0
    trigger: str = ""
    approved: str = ""
    promotions: int = 0
    leftover: bool = False
    generation: int = GENERATION
    verdicts: Mapping[str, Verdict] = field(default_factory=dict[str, Verdict])
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    history: tuple[Event, ...] = ()

    @property
    def model_spec(self) -> ModelSpec:
        """The model file as it was when the release was made. Raises: Unreadable."""
        try:
            return ModelSpec.model_validate(dict(self.spec))
        except (ValueError, TypeError) as error:
            raise Unreadable(record_key(self.model, self.release), error) from error

    @property
    def as_release(self) -> Release:
        return Release.of(self.model_spec, self.revision)

    @property
    def missing(self) -> tuple[str, ...]:
        """Required verdicts that were never given."""
        asked = (name for name in REQUIRED_FOR_LIVE if ADDED_LATER.get(name, 1) <= self.generation)
        return tuple(name for name in asked if name not in self.verdicts)

    @property
    def not_passed(self) -> Mapping[str, Verdict]:
        """Verdicts of the required checks that are not passed."""
        given = ((name, self.verdicts.get(name)) for name in REQUIRED_FOR_LIVE)
        return {name: verdict for name, verdict in given if verdict is not None and not verdict.passed}

    @property
    def may_go_live(self) -> bool:
        return not self.missing and not self.not_passed

    @property
    def usd_per_million_tokens(self) -> float | None:
        """What a million generated tokens cost in the load test; None where no price was given or nothing measured."""
        cost = self.verdicts.get("serving_report.cost")
        value = cost.evidence.get("value_usd") if cost else None
        return float(value) if isinstance(value, int | float) else None

    def outcome_of(self, asset: str) -> Outcome:
        mine = (v.outcome for name, v in self.verdicts.items() if name.startswith(f"{asset}."))
        return worst(mine)

    def with_verdicts(
        self, asset: str, verdicts: Iterable[Verdict], seconds: float, facts: Mapping[str, Any]
    ) -> Record:
        """This record with what one asset found; what the asset found before is replaced."""
        kept = {k: v for k, v in self.verdicts.items() if not k.startswith(f"{asset}.")}
        return replace(
            self,
            verdicts=kept | {f"{asset}.{v.check}": v for v in verdicts},
            timings={**self.timings, asset: round(seconds, 3)},
            facts={**self.facts, **facts},
        )

    def attempted(self) -> Record:
        """This record with one more run started."""
        return replace(self, phase=Phase.ROLLING_OUT, attempt=self.attempt + 1, promotions=0)

    def promoted(self) -> Record:
        """This record with one more run started that only moves the traffic."""
        return replace(self, promotions=self.promotions + 1)

    @property
    def attempts(self) -> int:
        """Runs started in this rollout of the release."""
        return self.attempt - self.attempts_before

    def reopened(self) -> Record:
        """A fresh rollout of the same release: what was proven before counts no more."""
        return replace(
            self,
            phase=Phase.ROLLING_OUT,
            reason="",
            approved="",
            leftover=False,
            generation=GENERATION,
            verdicts={},
            timings={},
            attempts_before=self.attempt,
        )

    def with_event(self, at: str, what: str) -> Record:
        return replace(self, history=(*self.history, Event(at, what)))

    def in_phase(self, phase: Phase, reason: str = "") -> Record:
        return replace(self, phase=phase, reason=reason, leftover=False)

    def ended(self, phase: Phase, reason: str) -> Record:
        """This record at its end, with its candidate still to be taken away."""
        return replace(self, phase=phase, reason=reason, leftover=True)

    @property
    def glance(self) -> Record:
        """What a plan needs of it: of a release that is through, neither proof nor history but the last event."""
        if self.phase in ON_ITS_WAY:
            return self
        return replace(self, spec={}, verdicts={}, timings={}, facts={}, history=self.history[-1:])

    def to_bytes(self) -> bytes:
        data = asdict(self) | {"verdicts": {k: v.to_json() for k, v in self.verdicts.items()}}
        return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, default=str).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Record:
        data: dict[str, Any] = json.loads(body)
        data["phase"] = Phase(data["phase"])
        data.setdefault("generation", 1)
        data["verdicts"] = {k: Verdict.from_json(v) for k, v in data["verdicts"].items()}
        data["history"] = tuple(Event(**e) for e in data["history"])
        record = cls(**data)
        _require(str, record.model, record.release, record.revision)
        _require_times(*(each.at for each in record.history))
        _require(Mapping, record.spec, record.timings, record.facts)
        _require(int, record.attempt, record.attempts_before, record.promotions, record.generation)
        return record


def record_key(model: str, release: str) -> str:
    return f"releases/{model}/{release}.json"


def live_key(model: str) -> str:
    """Key of the pointer to the live and the last good release."""
    return f"releases/{model}/live.json"


@dataclass(frozen=True)
class Live:
    """Which release has user traffic, and which one had it before and can have it again.

    Args:
        since: ISO 8601 UTC, as is `watched_until`.
        watched_until: until then it is watched and the last good one kept warm; None: it has been, or never is.
        rolled_back: the release that lost the traffic to this one by a rollback and is still to be taken away.
    """

    release: str
    revision: str
    since: str
    last_good: str | None = None
    watched_until: str | None = None
    rolled_back: str | None = None

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Live:
        live = cls(**json.loads(body))
        _require(str, live.release, live.revision, live.since)
        _require(str | None, live.last_good, live.watched_until, live.rolled_back)
        if live.watched_until is not None:
            _require_times(live.watched_until)
        return live


def _require_times(*values: str) -> None:
    if any(datetime.fromisoformat(value).tzinfo is None for value in values):
        raise ValueError(f"{values} are not all times with a zone")


def _require(kind: type | UnionType, *values: object) -> None:
    wrong = [value for value in values if not isinstance(value, kind)]
    if wrong:
        raise TypeError(f"{wrong} is not of {kind}")


Kept = TypeVar("Kept", Record, Live)


def read(kind: type[Kept], key: str, body: bytes) -> Kept:
    """What stands under a key of the store. Raises: Unreadable."""
    try:
        return kind.from_bytes(body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(key, error) from error
