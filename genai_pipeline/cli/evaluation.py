"""`genai evaluate`: put a release through a suite, and compare it with another release.

Exit code 0: passed. 1: worse, or below the gates. 2: not measured, for any reason.
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
    from genai_pipeline.cli.evaluated_release import EvaluatedRelease, ReleaseEvaluator
    from genai_pipeline.core.gates import Gates
    from genai_pipeline.core.record import Record
    from genai_pipeline.core.verdict import Verdict
    from genai_pipeline.resources.engines import Engines

INCONCLUSIVE = 2
MOST_RUNS = 100


def announce(command: Command) -> None:
    evaluate = command("evaluate", _evaluate, "put a release through a suite, and compare it with another release")
    evaluate.add_argument("model", metavar="model[@release]", help="default: live; the first digits are enough")
    evaluate.add_argument(
        "--suite", metavar="NAME|FILE", help="weather, tool_calling, or a file (….yaml); default: the model file's"
    )
    evaluate.add_argument(
        "--against", default="live", metavar="live|[MODEL@]RELEASE|none", help="the release to compare with (live)"
    )
    evaluate.add_argument("--repeat", type=_positive, metavar="N", help="runs of each case; default: as the suite says")
    evaluate.add_argument("--stored", action="store_true", help="ask no release: compare stored results")
    evaluate.add_argument("--json", action="store_true", help="print JSON")


def _evaluate(context: Context) -> int:
    try:
        return _compare(context)
    except GenaiError as error:  # exit code 1 is for releases that were measured
        sys.stderr.write(f"error: {error}\n")
        return INCONCLUSIVE


def _compare(context: Context) -> int:
    from genai_pipeline.cli.evaluated_release import ReleaseEvaluator
    from genai_pipeline.cli.evaluation_view import progress
    from genai_pipeline.core.verdict import Outcome, worst

    args, engines = context.args, context.engines()
    record = _release(context, engines, args.model)
    other = _other(context, engines, record)
    with progress(sys.stderr) as say:
        evaluator = ReleaseEvaluator(engines, _gates(context, record), args.suite, args.repeat, args.stored, say)
        mine = evaluator.side(record)
        against = evaluator.side(other, like=mine.results) if other else None
    verdicts = _verdicts(evaluator, mine, against)
    outcome = worst(verdict.outcome for verdict in verdicts)
    if args.json:
        text = json.dumps(_as_json(evaluator, mine, against, verdicts), indent=1, ensure_ascii=False)
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")  # half an emoji is no UTF-8
    else:
        _show(context, evaluator, mine, against, verdicts)
    return {Outcome.PASSED: 0, Outcome.FAILED: 1, Outcome.INCONCLUSIVE: INCONCLUSIVE}[outcome]


def _verdicts(evaluator: ReleaseEvaluator, mine: EvaluatedRelease, against: EvaluatedRelease | None) -> list[Verdict]:
    from genai_pipeline.core.verdict import inconclusive
    from genai_pipeline.evaluation.comparison import CHECK, Comparison, judge_not_worse

    if mine.results is None:
        return [inconclusive("task_success", mine.problem)]
    if against is None:
        return list(mine.verdicts)
    if against.results is None:
        return [*mine.verdicts, inconclusive(CHECK, against.problem)]
    comparison = Comparison(mine.results, against.results)
    return [*mine.verdicts, judge_not_worse(comparison, evaluator.gates.agent.worse_than_live_alpha, against.name)]


def _show(
    context: Context,
    evaluator: ReleaseEvaluator,
    mine: EvaluatedRelease,
    against: EvaluatedRelease | None,
    verdicts: list[Verdict],
) -> None:
    from genai_pipeline.cli.evaluation_view import page

    for part in page(evaluator.suite_name, mine, against, verdicts):
        if isinstance(part, str):
            context.say(part)
        else:
            context.console.print(part)


def _as_json(
    evaluator: ReleaseEvaluator, mine: EvaluatedRelease, against: EvaluatedRelease | None, verdicts: list[Verdict]
) -> dict[str, object]:
    from genai_pipeline.core.verdict import worst
    from genai_pipeline.evaluation.comparison import Comparison, flipped_rows

    both = Comparison(mine.results, against.results) if against and mine.results and against.results else None
    return {
        "schema": 1,
        "suite": evaluator.suite_name,
        "outcome": str(worst(verdict.outcome for verdict in verdicts)),
        "release": mine.to_json(),
        "against": against.to_json() if against else None,
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "flipped": flipped_rows(both) if both else [],
    }


def _release(context: Context, engines: Engines, named: str) -> Record:
    """Raises: NotFound."""
    model, _, which = named.partition("@")
    found = releases.records_of(context, engines, model)
    live = engines.records().live(model)
    if which not in ("", "live"):
        return releases.chosen(found, which, model)
    if live is None:
        newest = f" Its newest is {model}@{found[-1].release}." if found else ""
        raise NotFound(f"No release of {model} is live.", f"Name one: genai evaluate {model}@RELEASE.{newest}")
    return engines.records().require(model, live.release)


def _other(context: Context, engines: Engines, record: Record) -> Record | None:
    """Return the release to compare with, or None if none was wanted or no other release is live. Raises: NotFound."""
    against = context.args.against
    if against == "none":
        return None
    if against != "live":
        named = against if "@" in against else f"{record.model}@{against}"
        return _release(context, engines, named)
    live = engines.records().live(record.model)
    if live is None or live.release == record.release:
        why = "is live itself" if live else "has nothing live to be compared with"
        sys.stderr.write(f"{record.model}@{record.release} {why}: it is judged by the gates only.\n")
        return None
    return engines.records().require(record.model, live.release)


def _gates(context: Context, record: Record) -> Gates:
    """Return the gates of the model file as it is now; without a file, as it was when the release was made."""
    from genai_pipeline.core.model_file import read_models

    specs = {spec.name: spec for spec in read_models(context.models).specs}
    gates = specs.get(record.model, record.model_spec).gates
    if context.args.repeat is None:
        return gates
    return gates.model_copy(update={"agent": gates.agent.model_copy(update={"repeat": context.args.repeat})})


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_RUNS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs from 1 to {MOST_RUNS}")
    return int(text)
