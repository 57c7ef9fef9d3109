"""Records of releases as metrics. Pure: the same records give the same series, so counters survive every restart.

Records of the newest releases have series of their own. Counters and phases are over all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from genai_pipeline.core.compile_cache import Reason
from genai_pipeline.core.errors import Unavailable
from genai_pipeline.core.record import HAS_TRAFFIC_AGAIN, WENT_LIVE, Event, Record
from genai_pipeline.rollout.record.record_cache import ModelRecords

MOST_RELEASES = 20
"""Releases of a model that have series of their own, besides the live one and the last good one."""
KINDS: Mapping[str, str] = {WENT_LIVE: "cutover", HAS_TRAFFIC_AGAIN: "rollback"}

Books = Mapping[str, ModelRecords]


def release_series(books: Books) -> Iterator[Metric]:
    """Yield what is known about all models.

    Args:
        books: model -> its records, whole.
    """
    yield from _live(books)
    yield from _switches(books)
    phases = Counter((model, str(r.phase)) for model, book in books.items() for r in book.records.values())
    yield _gauge("genai_releases", "Releases by phase.", ("model", "phase"), phases.items())
    damaged = [((model,), len(book.damaged)) for model, book in books.items()]
    yield _gauge("genai_records_damaged", "Records that cannot be read.", ("model",), damaged)
    shown = [record for book in books.values() for record in _shown(book)]
    yield from _rollouts(shown)
    yield from _proof(shown)
    yield from _money(shown)


def _shown(book: ModelRecords) -> Sequence[Record]:
    """Return the newest records, and always those that have the traffic or had it last."""
    newest = sorted(book.records.values(), key=_last, reverse=True)[:MOST_RELEASES]
    kept = {book.live.release, book.live.last_good} if book.live else set[str | None]()
    return [*newest, *(r for name, r in book.records.items() if name in kept and r not in newest)]


def _last(record: Record) -> str:
    return record.history[-1].at if record.history else ""


def _live(books: Books) -> Iterator[Metric]:
    live = [(model, book.live, book.records.get(book.live.release)) for model, book in books.items() if book.live]
    labels = ("model", "release", "revision", "engine")
    info = [((model, at.release, at.revision, _engine(record)), 1) for model, at, record in live]
    yield _gauge("genai_live_release_info", "1 for the release that has user traffic.", labels, info)
    since = [((model,), _seconds(at.since)) for model, at, _ in live]
    yield _gauge("genai_live_since_timestamp_seconds", "When it got the traffic.", ("model",), since)
    watched = [((model,), float(at.watched_until is not None)) for model, at, _ in live]
    yield _gauge("genai_live_release_watched", "1 while its watch lasts.", ("model",), watched)


def _engine(record: Record | None) -> str:
    serving = record.spec.get("serving") if record else None
    return str(serving.get("engine", "vllm")) if isinstance(serving, Mapping) else ""


def _switches(books: Books) -> Iterator[Metric]:
    found = {
        (model, kind): [e for e in _events(book) if e.what.startswith(words)]
        for model, book in books.items()
        for words, kind in KINDS.items()
    }
    counted = CounterMetricFamily("genai_switches", "How often user traffic moved.", labels=("model", "kind"))
    for labels, events in found.items():
        counted.add_metric(labels, len(events))
    yield counted
    latest = [(labels, max(_seconds(e.at) for e in events)) for labels, events in found.items() if events]
    yield _gauge("genai_last_switch_timestamp_seconds", "When it moved last.", ("model", "kind"), latest)


def _events(book: ModelRecords) -> Iterator[Event]:
    return (event for record in book.records.values() for event in record.history)


def _rollouts(shown: Sequence[Record]) -> Iterator[Metric]:
    of = ("model", "release")
    whole = [((r.model, r.release), sum(r.timings.values())) for r in shown if r.timings]
    yield _gauge("genai_rollout_duration_seconds", "All stages of the latest rollout.", of, whole)
    stages = [((r.model, r.release, stage), s) for r in shown for stage, s in r.timings.items()]
    yield _gauge("genai_stage_duration_seconds", "One stage of it.", (*of, "stage"), stages)
    cache = [
        ((r.model, r.release, section.reason), float(section.reason == Reason.HIT))
        for r in shown
        if (section := r.facts.compile_cache) and section.reason
    ]
    text = "1 if the candidate started from compiled code."
    yield _gauge("genai_release_compile_cache_hit", text, (*of, "reason"), cache)
    staged = [((r.model, r.release), r.facts.staging.bytes) for r in shown if r.facts.staging]
    yield _gauge("genai_staged_bytes", "Bytes of the latest staging.", of, staged)


def _proof(shown: Sequence[Record]) -> Iterator[Metric]:
    verdicts = Counter(
        (r.model, r.release, check.partition(".")[0], str(v.outcome)) for r in shown for check, v in r.verdicts.items()
    )
    labels = ("model", "release", "stage", "outcome")
    yield _gauge("genai_verdicts", "Verdicts by stage and outcome.", labels, verdicts.items())
    cases = [
        ((r.model, r.release, suite.suite or "", result), count)
        for r in shown
        for suite in (r.facts.agent, r.facts.tool_calling)
        if suite and suite.cases is not None and suite.solved is not None
        for result, count in _results(suite.cases, suite.solved, getattr(suite, "not_measured", 0) or 0).items()
    ]
    yield _gauge("genai_evaluation_cases", "Cases of the suites.", ("model", "release", "suite", "result"), cases)


def _results(cases: int, solved: int, not_measured: int) -> dict[str, int]:
    return {"solved": solved, "unsolved": cases - solved - not_measured, "not_measured": not_measured}


def _money(shown: Sequence[Record]) -> Iterator[Metric]:
    of = ("model", "release")
    priced = [((r.model, r.release), price) for r in shown if (price := _usd_per_hour(r))]
    yield _gauge("genai_usd_per_hour", "Price of what serves it, as the load test knew it.", of, priced)
    proven = [((r.model, r.release), cost) for r in shown if (cost := r.usd_per_million_tokens) is not None]
    yield _gauge("genai_usd_per_million_tokens", "Cost of generated tokens in the load test.", of, proven)


def _usd_per_hour(record: Record) -> float:
    cost = record.verdicts.get("serving_report.cost")
    value = cost.evidence.get("usd_per_hour") if cost else None
    return float(value) if isinstance(value, int | float) else 0.0


def _gauge(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for given, value in values:
        family.add_metric(given, value)
    return family


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def complete(found: Mapping[str, ModelRecords | Unavailable], before: Books) -> dict[str, ModelRecords]:
    """Return what was found, and of a model that could not be read now what was known before."""
    known = {model: book for model, book in found.items() if isinstance(book, ModelRecords)}
    return {**{model: book for model, book in before.items() if model in found}, **known}
