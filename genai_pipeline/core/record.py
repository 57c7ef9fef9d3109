"""The record of a release: its verdicts, timings and facts, kept at `releases/<model>/<release>.json`.

Pure data; `rollout/record/records.py` reads and writes it. A release is proven when every required check passed. The
cut-over reads the record again and refuses a release that is not proven.
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
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.gates import Gates
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.purpose import not_asked
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome, Verdict, worst

NO_FACTS = Facts()


class Phase(StrEnum):
    """How far a release got. All phases but the first three are ends."""

    ROLLING_OUT = "rolling out"
    AWAITING_APPROVAL = "awaiting approval"
    LIVE = "live"
    REPLACED = "replaced"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled back"
    SUPERSEDED = "superseded"


WENT_LIVE, HAS_TRAFFIC_AGAIN = "went live", "has the traffic again"
"""How the events begin by which a release gets user traffic: by a cut-over, and by a rollback."""
ENDED_BADLY = frozenset({Phase.REJECTED, Phase.ROLLED_BACK})
"""In quarantine: not tried again. A change of the revision or of the section `serving` makes another release."""
ENDED = ENDED_BADLY | {Phase.REPLACED, Phase.SUPERSEDED}
ON_ITS_WAY = frozenset({Phase.ROLLING_OUT, Phase.AWAITING_APPROVAL})


@dataclass(frozen=True)
class Event:
    """Something that happened to a release. `at` is ISO 8601 in UTC."""

    at: str
    what: str


@dataclass(frozen=True)
class Record:
    """What is known about one release.

    Args:
        spec: the model file as it was when the release was made, so that it can be served again as it was. Its gates
            are those that judged it last.
        reason: why it is in its phase, or an empty text if the phase says enough.
        attempt: rollout runs that were requested for this release, ever. It never decreases, so run keys stay unique.
        attempts_before: those of them that do not count: of earlier rollouts, and those that `genai down` ended.
        trigger: what started this rollout, as "new revision 0123abcd of owner/name@main" or "serving.image changed".
        approved: who approved it and when, or an empty text if it is not approved.
        promotions: promotion runs that were requested since the last attempt.
        leftover: it ended, and its objects may still be in the cluster and its notice unwritten.
        generation: of the list of required checks. Checks that were added later are not missing.
        verdicts: `asset.check` -> verdict.
        timings: asset -> seconds.
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
    facts: Facts = NO_FACTS
    history: tuple[Event, ...] = ()

    @property
    def model_spec(self) -> ModelSpec:
        """Return the model file as it was when the release was made. Raises: Unreadable: it is not valid."""
        try:
            return ModelSpec.model_validate(dict(self.spec))
        except (ValueError, TypeError) as error:
            raise Unreadable(record_key(self.model, self.release), error) from error

    @property
    def as_release(self) -> Release:
        """Return the release. Raises: Unreadable: the spec is not valid, or it gives another release."""
        release = Release.of(self.model_spec, self.revision)
        if release.id != self.release:
            why = ValueError(f"its spec gives the release {release.id}: it was changed by hand")
            raise Unreadable(record_key(self.model, self.release), why)
        return release

    @property
    def not_applicable(self) -> Mapping[str, str]:
        """Return the checks that this release is not asked -> why.

        A spec that cannot be read, or that is not the one which gave the release its id, excuses from nothing.
        """
        try:
            spec = self.model_spec
        except Unreadable:
            return {}
        return not_asked(spec) if Release.of(spec, self.revision).id == self.release else {}

    @property
    def required(self) -> tuple[str, ...]:
        """Return the checks that the release must pass."""
        excused = self.not_applicable
        return tuple(name for name in REQUIRED_FOR_LIVE if name not in excused)

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the required checks without a verdict."""
        asked = (name for name in self.required if ADDED_LATER.get(name, 1) <= self.generation)
        return tuple(name for name in asked if name not in self.verdicts)

    @property
    def not_passed(self) -> Mapping[str, Verdict]:
        """Return the verdicts of required checks that are not passed."""
        given = [name for name in self.required if name in self.verdicts]
        return {name: self.verdicts[name] for name in given if not self.verdicts[name].passed}

    @property
    def may_go_live(self) -> bool:
        return not self.missing and not self.not_passed

    @property
    def usd_per_million_tokens(self) -> float | None:
        """Return what a million generated tokens cost in the load test, or None without a price or a measurement."""
        cost = self.verdicts.get("serving_report.cost")
        value = cost.evidence.get("value_usd") if cost else None
        return float(value) if isinstance(value, int | float) else None

    def outcome_of(self, asset: str) -> Outcome:
        return worst(v.outcome for name, v in self.verdicts.items() if name.startswith(f"{asset}."))

    def with_verdicts(self, asset: str, verdicts: Iterable[Verdict], seconds: float, facts: Facts = NO_FACTS) -> Record:
        """Return this record with what one asset found; what the asset found before is replaced."""
        kept = {k: v for k, v in self.verdicts.items() if not k.startswith(f"{asset}.")}
        return replace(
            self,
            verdicts=kept | {f"{asset}.{v.check}": v for v in verdicts},
            timings={**self.timings, asset: round(seconds, 3)},
            facts=self.facts.updated(facts),
        )

    def judged_by(self, gates: Gates) -> Record:
        """Return this record with the gates that judge the release. They are no part of it, and may change."""
        return replace(self, spec={**self.spec, "gates": gates.model_dump(mode="json", by_alias=True)})

    def with_facts(self, facts: Facts) -> Record:
        """Return this record with the sections that were given to `facts`; the others stay."""
        return replace(self, facts=self.facts.updated(facts))

    def attempted(self) -> Record:
        """Return this record with one more rollout run."""
        return replace(self, phase=Phase.ROLLING_OUT, attempt=self.attempt + 1, promotions=0)

    def interrupted(self, attempt: int) -> Record:
        """Return this record without its newest attempt among those that count, if that is this attempt."""
        counts = attempt == self.attempt and self.attempts
        return replace(self, attempts_before=self.attempts_before + 1) if counts else self

    def promoted(self) -> Record:
        """Return this record with one more promotion run."""
        return replace(self, promotions=self.promotions + 1)

    @property
    def attempts(self) -> int:
        """Return how many runs were requested in this rollout of the release."""
        return self.attempt - self.attempts_before

    def reopened(self) -> Record:
        """Return this record at the start of a new rollout: earlier verdicts no longer count."""
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
        """Return this record at its end, with its candidate still to be removed."""
        return replace(self, phase=phase, reason=reason, leftover=True)

    @property
    def glance(self) -> Record:
        """Return what a plan needs. Of a release that ended it drops proof and facts, and all events but the last."""
        if self.phase not in ENDED:
            return self
        return replace(self, spec={}, verdicts={}, timings={}, facts=NO_FACTS, history=self.history[-1:])

    def to_bytes(self) -> bytes:
        data = asdict(self) | {"facts": self.facts.to_json()}
        data["verdicts"] = {k: v.to_json() for k, v in self.verdicts.items()}
        return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, default=str).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Record:
        data: dict[str, Any] = json.loads(body)
        data["phase"] = Phase(data["phase"])
        data.setdefault("generation", 1)
        data["facts"] = Facts.model_validate(data.get("facts", {}))
        data["verdicts"] = {k: Verdict.from_json(v) for k, v in data["verdicts"].items()}
        data["history"] = tuple(Event(**e) for e in data["history"])
        record = cls(**data)
        _require(str, record.model, record.release, record.revision)
        _require_times(*(each.at for each in record.history))
        _require(Mapping, record.spec, record.timings)
        _require(int, record.attempt, record.attempts_before, record.promotions, record.generation)
        return record


def record_key(model: str, release: str) -> str:
    return f"releases/{model}/{release}.json"


def live_key(model: str) -> str:
    """Return the key of the pointer to the live and the last good release."""
    return f"releases/{model}/live.json"


@dataclass(frozen=True)
class Live:
    """The pointer: which release has user traffic, and which one had it before and can get it back.

    Args:
        since: ISO 8601 in UTC, as `watched_until`.
        watched_until: until then the release is watched and the last good one kept warm; None: no watch.
        rolled_back: the release that lost the traffic to this one by a rollback and is still to be removed.
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
    if wrong := [value for value in values if not isinstance(value, kind)]:
        raise TypeError(f"{wrong} is not of {kind}")


Kept = TypeVar("Kept", Record, Live)


def read(kind: type[Kept], key: str, body: bytes) -> Kept:
    """Read a record or a pointer from the body of an object. Raises: Unreadable."""
    try:
        return kind.from_bytes(body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(key, error) from error
