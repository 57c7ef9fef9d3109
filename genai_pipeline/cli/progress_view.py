"""Show rollouts while they happen: a table that redraws itself on a terminal, a line per change elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Protocol

from genai_pipeline.cli.rollout_progress import AssetProgress, RolloutProgress
from genai_pipeline.core.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

SUMMARY_CHARS = 160
MARKS = {
    "passed": "[green]✔[/]",
    "failed": "[red]✘[/]",
    "inconclusive": "[yellow]?[/]",
    "running": "[cyan]▶[/]",
    "skipped": "[dim]–[/]",
    "waiting": "[dim]·[/]",
}


class Progress(Protocol):
    """A context manager that shows each state it is given."""

    def __enter__(self) -> Progress: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, rollouts: Sequence[RolloutProgress]) -> None: ...


def progress_on(console: Console) -> Progress:
    return LiveTable(console) if console.is_terminal else Lines(console)


class LiveTable:
    """One table per model, redrawn in place."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._live = Live(console=console, refresh_per_second=4)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, rollouts: Sequence[RolloutProgress]) -> None:
        self._live.update(tables(rollouts))


class Lines:
    """One line per change: for logs, pipes and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to tidy up."""

    def show(self, rollouts: Sequence[RolloutProgress]) -> None:
        for rollout in rollouts:
            head = f"{rollout.state} {rollout.release or ''}".strip()
            self._say(rollout.model, "", f"{head}: {rollout.note}" if rollout.note else head)
            for asset in rollout.assets:
                if asset.state != "waiting":
                    self._say(rollout.model, asset.name, asset_line(asset))

    def _say(self, model: str, asset: str, text: str) -> None:
        if self._said.get((model, asset)) != text:
            self._said[model, asset] = text
            self._console.print(f"{model}{'/' if asset else ''}{asset}: {text}", markup=False, soft_wrap=True)


def asset_line(asset: AssetProgress) -> str:
    """`passed in 2.1 s (4 checks)`, or what did not pass. Without running seconds, which would change each time."""
    if asset.state == "running":
        return "running"
    time_taken = f" in {asset.seconds:.1f} s" if asset.seconds is not None else ""
    return f"{asset.state}{time_taken}{_checks(asset)}"


def tables(rollouts: Sequence[RolloutProgress]) -> Group:
    from rich.console import Group

    return Group(*(_table(rollout) for rollout in rollouts))


def _table(rollout: RolloutProgress) -> Table:
    from rich.markup import escape
    from rich.table import Table

    title = f"{rollout.model} {rollout.release or ''} {rollout.state}"
    caption = escape(rollout.note) or None
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=None)
    table.add_column("")
    table.add_column("asset")
    table.add_column("seconds", justify="right")
    table.add_column("checks")
    for asset in rollout.assets:
        seconds = f"{asset.seconds:.0f}" if asset.seconds is not None else ""
        table.add_row(MARKS.get(asset.state, ""), asset.name, seconds, escape(_checks(asset).strip(" :()")))
    return table


def _checks(asset: AssetProgress) -> str:
    """One line with the start of each summary: the end of `genai up` and `genai history` have all of it."""
    if asset.not_passed:
        found = grouped(asset.not_passed)
        return ": " + " · ".join(
            f"{names}: {shorten(about, SUMMARY_CHARS, placeholder=' …')}" for names, about in found
        )
    count = len(asset.verdicts)
    return f" ({count} {'check' if count == 1 else 'checks'} passed)" if count else ""


def grouped(verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """Names with outcome, and summary; one entry for what an error said of several checks at once."""
    groups: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        groups.setdefault((str(verdict.outcome), verdict.summary or "no summary"), []).append(verdict.check)
    return [(f"{', '.join(checks)} {outcome}", summary) for (outcome, summary), checks in groups.items()]


def check_table(rollout: RolloutProgress) -> Table:
    """Every check of a release with its evidence."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{rollout.model} {rollout.release}", title_justify="left", box=None)
    for column in ("", "asset", "check", "evidence"):
        table.add_column(column)
    for asset in rollout.assets:
        for verdict in asset.verdicts:
            mark = MARKS.get(str(verdict.outcome), "")
            table.add_row(mark, asset.name, verdict.check, escape(verdict.summary))
    return table
