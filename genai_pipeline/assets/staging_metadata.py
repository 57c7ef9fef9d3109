"""What the UI shows of a staging: observations of the asset while it goes on, the rest with the materialization."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from genai_pipeline.assets.tables import table
from genai_pipeline.core.facts import Facts, StagingFigures
from genai_pipeline.core.manifest import Manifest
from genai_pipeline.core.record import NO_FACTS
from genai_pipeline.staging.cost import PRICED_BY, usd
from genai_pipeline.staging.meter import MIB, StagingProgress, TransferMethod

OBSERVE_EVERY_S = 10.0


class StagingWatch:
    """Takes the progress of a staging and hands every ten seconds of it on as metadata, the plan first."""

    def __init__(self, observe: Callable[[Mapping[str, Any]], None]) -> None:
        self._observe = observe
        self._observed: float | None = None
        self.plan: dg.TableMetadataValue | None = None
        self.last: StagingProgress | None = None

    def __call__(self, state: StagingProgress) -> None:
        self.last, now = state, time.monotonic()
        if self.plan is None:
            self.plan = plan_table(state)
        elif state.finished or (self._observed is not None and now - self._observed < OBSERVE_EVERY_S):
            return  # the materialization has the end
        self._observed = now
        self._observe({"plan": self.plan, **figures(state)})

    @property
    def facts(self) -> Facts:
        """Return what was measured; nothing for a revision that was staged before."""
        if self.last is None:
            return NO_FACTS
        return Facts(staging=StagingFigures(bytes=self.last.bytes_done, seconds=round(self.last.elapsed_s, 3)))


def plan_table(state: StagingProgress) -> dg.TableMetadataValue:
    """Files and bytes by how they come."""
    rows: list[dict[str, Any]] = []
    for how in TransferMethod:
        mine = [file.size for file in state.files if file.how is how]
        if mine:
            rows.append({"how": str(how), "files": len(mine), "bytes": sum(mine)})
    return table(rows)


def figures(state: StagingProgress) -> dict[str, Any]:
    """Return the progress and the rate."""
    return {
        "files_done": f"{state.files_done} of {len(state.files)}",
        "bytes_done": state.bytes_done,
        "bytes_from_source": state.bytes_from_source,
        "bytes_copied": state.bytes_copied,
        "bytes_kept": state.bytes_kept,
        "mib_per_s": round(state.bytes_per_s / MIB, 1),
        "staging_seconds": round(state.elapsed_s, 2),
    }


def staged_metadata(manifest: Manifest, watch: StagingWatch) -> dict[str, Any]:
    """Of the materialization. A revision that was staged before has its files, and nothing that moved."""
    state = watch.last
    seen = {file.path: file for file in state.files} if state else {}
    rows: list[dict[str, Any]] = []
    for file in manifest.files:
        row: dict[str, Any] = {"path": file.path, "bytes": file.size}
        moved = seen.get(file.path)
        if moved and moved.began_s is not None and moved.ended_s is not None:
            row |= {"how": str(moved.how), "seconds": round(moved.ended_s - moved.began_s, 3)}
        rows.append(row | {"sha256": file.sha256})
    found: dict[str, Any] = {"files": table(rows), "bytes": manifest.size_bytes, "staged_at": manifest.written_at}
    if state is None:
        return found
    from genai_pipeline.staging.staging_chart import staging_chart

    found |= {"plan": watch.plan, **figures(state), "plot": dg.MetadataValue.md(staging_chart(state))}
    if state.requests:
        found["requests"] = table([{"operation": o, "count": n} for o, n in sorted(state.requests.items())])
        found |= {"requests_usd": round(usd(state.requests), 6), "prices": PRICED_BY}
    return found
