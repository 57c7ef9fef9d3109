"""The sensor that judges what is live by its real traffic, goes back by itself, and ends the watch in time.

It begins a rollback within its tick, because that is a selector switch; what is left of it is a run's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from genai_pipeline.assets.tables import table
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Record
from genai_pipeline.core.run_tags import LONGEST_REASON, MODEL_TAG, REASON_TAG, RELEASE_TAG
from genai_pipeline.core.svg import BLUE, GREY, RED, XY, Axes, as_markdown, document, text
from genai_pipeline.core.verdict import Asked
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines, kept
from genai_pipeline.resources.runs import runs_under_way
from genai_pipeline.rollout.watch.live_watch import FinishRequest, LiveObservation, LiveWatch

ROLL_BACK = "roll_back"
LONGEST_TICK_S = 10
"""Between two looks: a breach of two minutes must not wait for half a minute more to be seen."""


def live_watch_sensor(files: ModelFiles, tick_s: int) -> dg.SensorDefinition:
    """Return the one sensor for all models. What it leaves to do is a run of the job `roll_back`."""
    watch_of = kept(_live_watch)

    @dg.sensor(
        name="live_watch",
        job_name=ROLL_BACK,
        minimum_interval_seconds=min(tick_s, LONGEST_TICK_S),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Watches live releases, and goes back to the last good one when a release misbehaves.",
    )
    def live_watch(context: dg.SensorEvaluationContext, rollout: RolloutResource) -> dg.SensorResult:
        busy = {run.model for run in runs_under_way(context.instance)}
        tick = watch_of(rollout.engines()).tick(files.specs, busy, context.cursor or "")
        for note in tick.notes:
            context.log.info(note)
        return dg.SensorResult(
            run_requests=[_finish(f) for f in tick.finishes],
            asset_events=[_observation(observed) for observed in tick.observed],
            skip_reason=None if tick.finishes else dg.SkipReason("\n".join(tick.notes) or "Nothing is being watched."),
            cursor=tick.cursor,
        )

    return live_watch


def _finish(wanted: FinishRequest) -> dg.RunRequest:
    """Request a run that finishes a rollback that was begun."""
    config = {
        "model": wanted.model,
        "release": wanted.release,
        "reason": wanted.reason,
        "by": "watch",
        "only_finish": True,
    }
    return dg.RunRequest(
        job_name=ROLL_BACK,
        run_key=f"rollback:{wanted.model}:{wanted.release}:{wanted.number}",
        run_config={"ops": {"roll_back_release": {"config": config}}},
        tags={MODEL_TAG: wanted.model, RELEASE_TAG: wanted.release, REASON_TAG: wanted.reason[:LONGEST_REASON]},
    )


def _live_watch(engines: Engines) -> LiveWatch:
    def ask(spec: ModelSpec, record: Record, number: int, url: str) -> Asked:
        from genai_pipeline.evaluation.canary import ask_one

        unsolved = record.facts.agent.unsolved if record.facts.agent else ()
        return ask_one(url, spec.gates.agent.suite, number, engines.profile.weather_url, unsolved)

    return engines.live_watch(ask)


def _observation(observed: LiveObservation) -> dg.AssetObservation:
    looked = observed.looked
    metadata: dict[str, Any] = {"watch": looked.message}
    if looked.finding:
        signals = looked.finding.signals
        rows = [
            {"signal": s.name, "outcome": str(s.outcome), "said": s.said, "value": s.value, "limit": s.limit}
            for s in signals
        ]
        metadata |= {"outcome": str(looked.finding.outcome), "signals": table(rows)}
        metadata |= _figures({s.name: s.value for s in signals})
    drawn = picture(looked.series)
    if drawn:
        metadata["plot"] = dg.MetadataValue.md(drawn)
    if looked.ended:
        metadata["seen"] = table([{"figure": name, "value": value} for name, value in looked.ended.figures.items()])
    return dg.AssetObservation([observed.model, "live"], partition=observed.release, metadata=metadata)


def _figures(values: Mapping[str, float | None]) -> dict[str, float]:
    """Return the figures that the UI draws over time."""
    shown = {
        "ttft_p95_s": "ttft_p95",
        "error_rate": "error_rate",
        "kv_cache": "kv_cache",
        "completion_s": "canary_latency",
    }
    return {name: float(value) for name, key in shown.items() if (value := values.get(key)) is not None}


Point = tuple[float, float | None, float | None]
"""Seconds into the watch, TTFT p95 in ms, share of failed requests. None stands for a figure that was not measured."""

_WIDTH, _HEIGHT = 330, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 30


def picture(points: Sequence[Point]) -> str:
    """Return the chart as a Markdown image, or an empty text where neither figure was measured twice."""
    ttft = [(at, value) for at, value, _ in points if value is not None]
    failed = [(at, share * 100) for at, _, share in points if share is not None]
    if len(ttft) < 2 and len(failed) < 2:
        return ""
    length = max(at for at, _, _ in points) or 1.0
    panels = _panel(0, "TTFT p95 (ms)", ttft, length, BLUE) + _panel(_WIDTH, "Failed requests (%)", failed, length, RED)
    return as_markdown("What the watch saw", document(2 * _WIDTH, _HEIGHT, panels))


def _panel(offset: int, title: str, values: Sequence[XY], length: float, colour: str) -> str:
    top = max((value for _, value in values), default=0.0) * 1.15 or 1.0
    axes = Axes(offset + _LEFT, offset + _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM, length, top)
    time = text(axes.right, _HEIGHT - 10, f"{length:.0f} s after the cut-over", "end", GREY)
    return axes.title(title) + axes.grid((0, 1), ".3g") + axes.line(values, colour) + time
