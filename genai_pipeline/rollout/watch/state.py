"""What the watch over a release remembers from one look to the next.

It is kept in the cursor of a sensor, which is a cache: if it is lost, the watch measures from the beginning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from genai_pipeline.core.quantiles import Buckets, increase

LONGEST_GAP_S = 60.0
"""Longest time between two looks, in seconds. After a longer one nothing is known about the time between."""
CLOCKS_AGREE_S = 2.0


@dataclass(frozen=True)
class CounterSample:
    """The engine's counters at one look.

    Args:
        clock: seconds of this watch that both clocks agree on.
        scraped: monotonic time of the scrape.
        ok, bad: answers 2xx and 5xx, or None if the engine does not count them.
    """

    clock: float
    scraped: float
    finished: float
    ok: float | None
    bad: float | None
    ttft: Buckets
    gaps: Buckets
    started: float | None = None

    def is_before(self, other: CounterSample) -> bool:
        """Return whether `other` can be the same counters later. If not, the engine was restarted."""
        pairs = [(self.finished, other.finished), (self.ok or 0, other.ok or 0), (self.bad or 0, other.bad or 0)]
        pairs += [(self.ttft.get(math.inf, 0), other.ttft.get(math.inf, 0))]
        same = self.started is None or other.started is None or abs(self.started - other.started) < 1
        return same and all(before <= after for before, after in pairs)


@dataclass(frozen=True)
class Streak:
    """How long a signal has failed without passing in between.

    Args:
        since, last: clock of its first and its latest failed look. Time in which nothing was known does not count.
        looks: how many looks found it failed.
        blind: looks since then that could not tell.
    """

    since: float
    last: float
    looks: int = 1
    blind: int = 0
    said: str = ""

    @property
    def held_s(self) -> float:
        return self.last - self.since


@dataclass(frozen=True)
class Totals:
    """What the whole watch saw. It becomes the baseline of the next release.

    Args:
        wrong: looks that found something wrong, even for a short time.
    """

    ttft: Buckets = field(default_factory=dict[float, float])
    gaps: Buckets = field(default_factory=dict[float, float])
    ok: float = 0.0
    bad: float = 0.0
    kv_cache: float = 0.0
    waiting: float = 0.0
    looks: int = 0
    measured: int = 0
    wrong: int = 0
    canary_s: tuple[float, ...] = ()

    def plus(self, before: CounterSample, after: CounterSample) -> Totals:
        return replace(
            self,
            ttft=_added(self.ttft, increase(before.ttft, after.ttft)),
            gaps=_added(self.gaps, increase(before.gaps, after.gaps)),
            ok=self.ok + (after.ok or 0) - (before.ok or 0),
            bad=self.bad + (after.bad or 0) - (before.bad or 0),
        )


@dataclass(frozen=True)
class WatchState:
    """What is remembered about one model.

    Args:
        release: the watched release; for another release the state starts from the beginning.
        wall, mono: the two clocks at the latest look.
        clock: seconds since the first look that both clocks agree on.
        restarts: of the engine's containers at the first look.
        asked: clock of the latest question to the agent.
        case: how many questions were asked.
        observed: clock of the latest observation for the UI.
        series: (clock, TTFT p95 in ms or None, share of errors or None), for the picture at the end.
    """

    release: str
    wall: float
    mono: float
    clock: float = 0.0
    samples: tuple[CounterSample, ...] = ()
    streaks: Mapping[str, Streak] = field(default_factory=dict[str, Streak])
    totals: Totals = Totals()
    restarts: int | None = None
    asked: float | None = None
    case: int = 0
    observed: float | None = None
    series: tuple[tuple[float, float | None, float | None], ...] = ()

    def at(self, wall: float, mono: float) -> WatchState:
        """Return this state at a later look, or a fresh one if the time between is not known.

        If the clocks disagree, no time passes: one of them was set, or belongs to another machine.
        """
        passed, by_wall = mono - self.mono, wall - self.wall
        if not 0 <= passed <= LONGEST_GAP_S:
            return WatchState(self.release, wall, mono, case=self.case)
        agreed = passed if abs(passed - by_wall) <= CLOCKS_AGREE_S else 0.0
        return replace(self, wall=wall, mono=mono, clock=self.clock + agreed)


def _added(one: Buckets, other: Buckets) -> dict[float, float]:
    return {bound: one.get(bound, 0.0) + other.get(bound, 0.0) for bound in sorted({*one, *other})}
