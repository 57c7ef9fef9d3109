"""The output of `genai stage`, `verify` and `prune`: bars on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from genai_pipeline.core.progress import Log

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from genai_pipeline.core.manifest import Manifest
    from genai_pipeline.core.model_snapshot import Snapshot
    from genai_pipeline.staging.meter import StagingProgress
    from genai_pipeline.staging.prune_decision import PruneDecision
    from genai_pipeline.staging.transfer_plan import PlannedFile
    from genai_pipeline.staging.verify import Verification

MOST_ROWS = 100
MOST_BARS = 8


class StagingObserver:
    """Receives log lines and the progress of a staging; `last` is the newest progress."""

    def __init__(self, say: Log) -> None:
        self.say = say
        self.last: StagingProgress | None = None

    def observe(self, state: StagingProgress) -> None:
        self.last = state


@contextmanager
def watching(console: Console, say: Log) -> Iterator[StagingObserver]:
    """Show the progress while the block runs."""
    if not console.is_terminal:
        yield StagingObserver(say)
        return
    watch = _Bars(console)
    with watch.progress:
        yield watch


class _Bars(StagingObserver):
    """One bar for the whole staging, and one for each file under way."""

    def __init__(self, console: Console) -> None:
        from rich import progress

        self.progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(binary_units=True),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            refresh_per_second=4,
        )
        super().__init__(lambda text: None if " files, " in text else self.progress.console.print(text, markup=False))
        self._whole = self.progress.add_task("", total=None)
        self._bars: dict[str, progress.TaskID] = {}

    def observe(self, state: StagingProgress) -> None:
        super().observe(state)
        under_way = [f for f in state.files if f.began_s is not None and f.ended_s is None]
        for path in set(self._bars) - {f.path for f in under_way}:
            self.progress.remove_task(self._bars.pop(path))
        for file in under_way:
            if file.path not in self._bars and len(self._bars) < MOST_BARS:
                self._bars[file.path] = self.progress.add_task(f"{file.path} ({file.how})", total=file.size)
            if file.path in self._bars:
                self.progress.update(self._bars[file.path], completed=file.bytes_done)
        said = f"{state.model}: {state.files_done} of {len(state.files)} files"
        self.progress.update(self._whole, description=said, completed=state.bytes_done, total=state.size_bytes)


def plan_page(
    model: str, snapshot: Snapshot, planned: Sequence[PlannedFile], part_size: int
) -> Iterator[RenderableType]:
    """Yield the files and their method, then what the plan saves and costs."""
    from rich.table import Table

    from genai_pipeline.staging.cost import PRICED_BY, planned_requests, usd
    from genai_pipeline.staging.meter import TransferMethod

    yield f"{model}: {snapshot.source}@{snapshot.revision}"
    table = Table(box=None)
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("how")
    for item in planned[:MOST_ROWS]:
        how = f"{item.how} from {item.copy_of}" if item.copy_of else str(item.how)
        table.add_row(item.file.path, f"{item.file.size:,}", how)
    yield table
    if len(planned) > MOST_ROWS:
        rest = planned[MOST_ROWS:]
        yield f"… and {len(rest):,} smaller files, {size(sum(i.file.size for i in rest))}"
    for left in snapshot.left_out:
        yield f"Left out: {left.file.path}, {size(left.file.size)}: {left.why}."
    yield ""
    total = snapshot.size_bytes
    for how in TransferMethod:
        mine = [i for i in planned if i.how is how]
        if mine:
            yield f"{how:9} {len(mine):6,} files  {size(sum(i.file.size for i in mine))}"
    streamed = sum(i.file.size for i in planned if i.how is TransferMethod.STREAMED)
    saved = total - streamed
    yield f"Saved: {size(saved)} of {size(total)} do not come from the source."
    requests = planned_requests([(i.file.size, i.how) for i in planned], part_size)
    yield f"Requests to S3: about {requests.total():,}, {money(usd(requests))} ({PRICED_BY})."
    yield "Nothing was moved."


def staged_page(address: str, manifest: Manifest, state: StagingProgress | None) -> Iterator[str]:
    """Yield what a staging did; for a model that was staged already, only where it is."""
    from genai_pipeline.staging.cost import PRICED_BY, usd

    if state:
        yield (
            f"From the source {size(state.bytes_from_source)}, copied {size(state.bytes_copied)}, "
            f"kept {size(state.bytes_kept)}, in {state.elapsed_s:.1f} s ({rate(state.bytes_per_s)})."
        )
        asked = sum(count for operation, count in state.requests.items() if operation != "source")
        if asked:
            yield f"Requests to S3: {asked:,}, {money(usd(state.requests))} ({PRICED_BY})."
    verified = "all verified" if state else "verified when it was staged; `genai verify` reads it again"
    yield f"Staged: {address}, {len(manifest.files)} files, {size(manifest.size_bytes)}, {verified}."


def verification_page(manifest: Manifest, found: Verification, seconds: float) -> Iterator[str]:
    from genai_pipeline.staging.verify import REPAIR, FileState

    for file in found.differing:
        yield f"{file.path}: {file.detail}"
    what = f"{manifest.model}/{manifest.revision}"
    if not found.passed:
        names = len({f.path for f in found.differing})
        yield f"{names} files of {what} differ. Nothing was changed. {REPAIR}"
        return
    unread = sum(f.state is FileState.UNREAD for f in found.files)
    read = len(found.files) - unread
    sampled = f"; of {unread} others only size and ETag were compared" if unread else ""
    speed = rate(found.bytes_read / max(seconds, 1e-3))
    yield f"{what}: {read} files, {size(found.bytes_read)}, equal the manifest byte by byte ({speed}){sampled}."
    yield f"{found.source}."


def prune_page(decisions: Sequence[PruneDecision], verb: str) -> Iterator[RenderableType]:
    from rich.table import Table

    table = Table(box=None)
    for column in ("model", "revision", "size", "of it compiled", "", "why"):
        table.add_column(column, justify="right" if column in ("size", "of it compiled") else "left", overflow="fold")
    for decision in decisions:
        staged = decision.staged
        what = verb if decision.fate == "delete" else str(decision.fate)
        sizes = size(staged.size_bytes), size(staged.cache_bytes) if staged.cache_bytes else ""
        table.add_row(staged.model, staged.revision[:12], *sizes, what, decision.why)
    if decisions:
        yield table


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def rate(bytes_per_s: float) -> str:
    return f"{size(bytes_per_s)}/s"


def money(usd: float) -> str:
    return f"{usd:.4f} USD" if usd < 0.1 else f"{usd:.2f} USD"
