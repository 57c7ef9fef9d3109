"""Show what `genai evaluate` found: the progress, both releases, the cases that differ, and the verdicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from genai_pipeline.cli.evaluated_release import EvaluatedRelease
from genai_pipeline.core.quantiles import quantile
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.evaluation.comparison import Comparison, flipped_rows, solved_runs
from genai_pipeline.evaluation.outcome import CaseOutcome
from genai_pipeline.evaluation.results import Results
from genai_pipeline.evaluation.statistics import wilson

if TYPE_CHECKING:
    from rich.console import RenderableType

_OF = re.compile(r"(\d+) of (\d+)")
_MARKS = {"passed": "green", "failed": "red", "inconclusive": "yellow"}


@contextmanager
def progress(stream: TextIO) -> Iterator[Callable[[str], None]]:
    """Show a bar on a terminal, and lines elsewhere, for messages such as `30 of 81 conversations held`."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=stream, highlight=False, width=None if stream.isatty() else 160)
    if not console.is_terminal:
        yield lambda message: console.print(message, markup=False, soft_wrap=True)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("looking", total=None)

        def say(message: str) -> None:
            found = _OF.match(message)
            done, total = (int(found[1]), int(found[2])) if found else (0, None)
            bar.update(task, description=message, completed=done, total=total)

        yield say


def page(
    suite: str, mine: EvaluatedRelease, against: EvaluatedRelease | None, verdicts: Sequence[Verdict]
) -> Iterator[str | RenderableType]:
    """Yield the parts of the answer, from figures to verdicts."""
    sides = [side for side in (mine, against) if side]
    for side in sides:
        yield f"{side.name}: {side.problem or side.source}"
    known = [(side, side.results) for side in sides if side.results]
    if known:
        yield _figures(suite, known)
    if mine.results and against and against.results:
        yield from _flipped(Comparison(mine.results, against.results))
    elif mine.results:
        yield from _unsolved(mine.results)
    for verdict in verdicts:
        yield _verdict(verdict)


def _figures(suite: str, sides: Sequence[tuple[EvaluatedRelease, Results]]) -> RenderableType:
    from rich.table import Table

    table = Table(title=f"suite {suite}", title_justify="left", box=None)
    table.add_column("")
    for side, _ in sides:
        table.add_column(side.name, justify="right")
    columns = [_column(results) for _, results in sides]
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    return table


def _column(results: Results) -> dict[str, str]:
    runs = [run for case in results.cases for run in case.runs]
    seconds = [run.seconds for run in runs if run.seconds]
    cycles = [each for run in runs for each in run.cycles_s]
    tools = [run.right_tools for run in runs if run.right_tools is not None]
    costs = [cost for case in results.cases if (cost := results.cost_usd(case)) is not None]
    tokens = [case.tokens for case in results.cases]
    rate = f" ({results.solved / results.measured:.1%})" if results.measured else ""
    interval = str(wilson(results.solved, results.measured)) if results.measured else "-"
    return {
        "cases solved": f"{results.solved} of {results.measured}{rate}",
        "95 % interval": interval,
        "by weight": "-" if results.pass_rate is None else f"{results.pass_rate:.1%}",
        "not measured": str(len(results.cases) - results.measured),
        "runs, flaky cases": f"{len(runs)}, {len(results.flaky)}",
        "runs with the right tools": f"{sum(tools)} of {len(tools)}",
        "seconds a run, mean and p95": f"{_mean(seconds)}, {_p95(seconds)}",
        "seconds a cycle, mean and p95": f"{_mean(cycles)}, {_p95(cycles)}",
        "tokens in and out": f"{sum(i for i, _ in tokens):,}, {sum(o for _, o in tokens):,}",
        "cost": f"{sum(costs):.6f} USD" if costs else "no price",
        "seconds in all": f"{results.seconds:.1f}" if results.seconds else "-",
    }


def _mean(seconds: Sequence[float]) -> str:
    return f"{sum(seconds) / len(seconds):.2f}" if seconds else "-"


def _p95(seconds: Sequence[float]) -> str:
    return f"{quantile(seconds, 0.95):.2f}" if seconds else "-"


def _flipped(comparison: Comparison) -> Iterator[str | RenderableType]:
    rows = flipped_rows(comparison)
    if not rows:
        yield "Both solve the same cases."
        return
    marks = {"lost": "- lost", "gained": "+ gained"}
    shown = [row | {"flipped": marks[row["flipped"]]} for row in rows]
    title = f"{len(rows)} cases that only one of the two solves"
    yield _table(title, shown, ("flipped", "case", "solved", "live_solved", "reason"))


def _unsolved(results: Results) -> Iterator[str | RenderableType]:
    rows = [_unsolved_row(case) for case in results.cases if case.solved is not True]
    if rows:
        yield _table(f"{len(rows)} cases not solved", rows, ("case", "solved", "reason"))


def _unsolved_row(case: CaseOutcome) -> dict[str, Any]:
    said = "not measured" if case.solved is None else solved_runs(case)
    return {"case": case.name, "solved": said, "reason": case.reason}


def _table(title: str, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None)
    for column in columns:
        table.add_column({"flipped": "", "live_solved": "the other"}.get(column, column), overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(row[column])) for column in columns))
    return table


def _verdict(verdict: Verdict) -> RenderableType:
    from rich.text import Text

    outcome = str(verdict.outcome)
    return Text.assemble((outcome, _MARKS[outcome]), f"  {verdict.check}: {verdict.summary}")
