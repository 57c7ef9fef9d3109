"""`genai evaluate`: put a release through a suite, and hold it against another one.

Exit code 0: passed. 1: worse, or below the gates. 2: not measured, for whatever reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from genai_pipeline.cli import releases
from genai_pipeline.cli.context import Command, Context
from genai_pipeline.core.errors import GenaiError, NotFound

if TYPE_CHECKING:
    from genai_pipeline.cli.evaluated import Asker, Side
    from genai_pipeline.core.gates import Gates
    from genai_pipeline.core.record import Record
    from genai_pipeline.core.verdict import Verdict
    from genai_pipeline.resources.platform import Platform

INCONCLUSIVE = 2
MOST_RUNS = 100


def announce(command: Command) -> None:
    evaluate = command("evaluate", _evaluate, "put a release through a suite, and compare it with another one")
    evaluate.add_argument("model", metavar="model[@release]", help="default: the live one; first digits will do")
    evaluate.add_argument(
        "--suite", metavar="NAME|FILE", help="weather, tool_calling, or a file (….yaml); default: the model file's"
    )
    evaluate.add_argument(
        "--against", default="live", metavar="live|[MODEL@]RELEASE|none", help="what it is compared with (live)"
    )
    evaluate.add_argument("--repeat", type=_positive, metavar="N", help="runs of each case; default: as the suite says")
    evaluate.add_argument("--stored", action="store_true", help="ask nobody: compare what is stored of both")
    evaluate.add_argument("--json", action="store_true", help="for programs")


def _evaluate(context: Context) -> int:
    try:
        return _compare(context)
    except GenaiError as error:  # 1 says that something was measured and found wanting
        sys.stderr.write(f"error: {error}\n")
        return INCONCLUSIVE


def _compare(context: Context) -> int:
    from genai_pipeline.cli.evaluated import Asker
    from genai_pipeline.cli.evaluation_view import progress
    from genai_pipeline.core.verdict import Outcome, worst

    args, platform = context.args, releases._platform(context)
    record = _release(context, platform, args.model)
    other = _other(context, platform, record)
    with progress(sys.stderr) as say:
        asker = Asker(platform, _gates(context, record), args.suite, args.repeat, args.stored, say)
        mine = asker.side(record)
        against = asker.side(other, like=mine.results) if other else None
    verdicts = _verdicts(asker, mine, against)
    outcome = worst(verdict.outcome for verdict in verdicts)
    if args.json:
        text = json.dumps(_as_json(asker, mine, against, verdicts), indent=1, ensure_ascii=False)
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")  # half an emoji is no UTF-8
    else:
        _show(context, asker, mine, against, verdicts)
    return {Outcome.PASSED: 0, Outcome.FAILED: 1, Outcome.INCONCLUSIVE: INCONCLUSIVE}[outcome]


def _verdicts(asker: Asker, mine: Side, against: Side | None) -> list[Verdict]:
    from genai_pipeline.core.verdict import inconclusive
    from genai_pipeline.evaluation.comparison import CHECK, Comparison, judge_not_worse

    if mine.results is None:
        return [inconclusive("task_success", mine.problem)]
    if against is None:
        return list(mine.verdicts)
    if against.results is None:
        return [*mine.verdicts, inconclusive(CHECK, against.problem)]
    comparison = Comparison(mine.results, against.results)
    return [*mine.verdicts, judge_not_worse(comparison, asker.gates.agent.worse_than_live_alpha, against.name)]


def _show(context: Context, asker: Asker, mine: Side, against: Side | None, verdicts: list[Verdict]) -> None:
    from genai_pipeline.cli.evaluation_view import page

    for part in page(asker.suite_name, mine, against, verdicts):
        if isinstance(part, str):
            context.say(part)
        else:
            context.console.print(part)


def _as_json(asker: Asker, mine: Side, against: Side | None, verdicts: list[Verdict]) -> dict[str, object]:
    from genai_pipeline.core.verdict import worst
    from genai_pipeline.evaluation.comparison import Comparison, flipped_rows

    both = Comparison(mine.results, against.results) if against and mine.results and against.results else None
    return {
        "schema": 1,
        "suite": asker.suite_name,
        "outcome": str(worst(verdict.outcome for verdict in verdicts)),
        "release": mine.to_json(),
        "against": against.to_json() if against else None,
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "flipped": flipped_rows(both) if both else [],
    }


def _release(context: Context, platform: Platform, named: str) -> Record:
    """Raises: NotFound."""
    model, _, which = named.partition("@")
    found = releases.records_of(context, platform, model)
    live = platform.records.live(model)
    if which not in ("", "live"):
        return releases.chosen(found, which, model)
    if live is None:
        newest = f" Its newest is {model}@{found[-1].release}." if found else ""
        raise NotFound(f"No release of {model} is live.", f"Name one: genai evaluate {model}@RELEASE.{newest}")
    return platform.records.require(model, live.release)


def _other(context: Context, platform: Platform, record: Record) -> Record | None:
    """What it is held against; None: nothing, because nobody asked or nothing else is live. Raises: NotFound."""
    against = context.args.against
    if against == "none":
        return None
    if against != "live":
        named = against if "@" in against else f"{record.model}@{against}"
        return _release(context, platform, named)
    live = platform.records.live(record.model)
    if live is None or live.release == record.release:
        why = "is live itself" if live else "has nothing live to be compared with"
        sys.stderr.write(f"{record.model}@{record.release} {why}: it is held to the gates only.\n")
        return None
    return platform.records.require(record.model, live.release)


def _gates(context: Context, record: Record) -> Gates:
    """Of the model file as it is now, or as it was when the release was made where there is none."""
    from genai_pipeline.core.model_file import read_models

    specs = {spec.name: spec for spec in read_models(context.models).specs}
    gates = specs.get(record.model, record.model_spec).gates
    if context.args.repeat is None:
        return gates
    return gates.model_copy(update={"agent": gates.agent.model_copy(update={"repeat": context.args.repeat})})


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_RUNS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs; 1 to {MOST_RUNS} are")
    return int(text)
