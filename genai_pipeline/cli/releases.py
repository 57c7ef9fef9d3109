"""Commands about releases: their history, promoting one by hand, going back by hand, rebuilding Dagster's memory."""

from __future__ import annotations

import getpass
import json
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from genai_pipeline.cli.context import Command, Context
from genai_pipeline.core.clock import for_people
from genai_pipeline.core.did_you_mean import closest
from genai_pipeline.core.errors import NotFound, Refused

if TYPE_CHECKING:
    from rich.console import RenderableType

    from genai_pipeline.core.record import Record
    from genai_pipeline.resources.engines import Engines

MODEL_AT_RELEASE = "model[@release]"


def announce(command: Command) -> None:
    history = command(
        "history", _history, "show every release of a model: what started it, what it proved, how it ended"
    )
    history.add_argument("model", metavar=MODEL_AT_RELEASE, help="with a release: that one, event by event")
    history.add_argument("--json", action="store_true", help="for programs")
    approve = command("approve", _approve, "let a proven candidate have the traffic (rollout.approval: manual)")
    approve.add_argument("model", metavar=MODEL_AT_RELEASE, help="default: the one that waits for it")
    rollback = command("rollback", _rollback, "give the traffic back to the last good release, or to another one")
    rollback.add_argument("model")
    rollback.add_argument("--to", metavar="RELEASE", help="default: the last good one; its first digits are enough")
    rollback.add_argument("--reason", default="", help="why; the record keeps it")
    rollback.set_defaults(interrupted="Run it again: it goes on where it stopped. The sensor finishes it as well.")
    rebuild = command("rebuild", _rebuild, "report the records to Dagster again, after its storage was lost")
    rebuild.add_argument("model", nargs="?", help="default: every model that has a file here")


def _history(context: Context) -> int:
    from genai_pipeline.rollout.record.history import history, history_table

    model, _, which = context.args.model.partition("@")
    engines = context.engines()
    found, damaged = engines.records().readable(model) if _may_be_named(model) else ([], [])
    if not found and not damaged:
        require_known(context, model, also=engines.records().models())
    for error in damaged:
        sys.stderr.write(f"error: {error}\n")
    live = engines.records().live(model)
    shown = [chosen(found, which, model)] if which else found
    if context.args.json:
        rows = {"schema": 1, "model": model, "releases": history(shown, live)}
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    elif shown:
        context.console.print(_page(model, history_table(shown, live)))
    elif not damaged:
        context.say(f"{model} has no release yet.")
    for event in shown[0].history if which and not context.args.json else ():
        context.say(f"{for_people(event.at)}  {_plain(event.what)}")
    return 1 if damaged else 0


def _approve(context: Context) -> int:
    from genai_pipeline.core.record import Phase

    model, _, which = context.args.model.partition("@")
    engines = context.engines()
    found = records_of(context, engines, model)
    waiting = [r for r in found if r.phase is Phase.AWAITING_APPROVAL]
    if not which and len(waiting) != 1:
        names = ", ".join(f"{model}@{r.release}" for r in waiting)
        raise NotFound(
            f"{len(waiting) or 'No'} releases of {model} wait for approval{': ' + names if names else ''}.",
            "Name one of them." if names else f"See `genai history {model}`.",
        )
    release = chosen(found, which, model).release if which else waiting[0].release
    record = engines.approvals().approve(model, release, _user(context))
    context.say(f"{model}@{release}: approved by {record.approved}. The sensor moves the traffic at its next tick.")
    return 0


def _rollback(context: Context) -> int:
    model, by = context.args.model, _user(context)
    engines = context.engines()
    to = None
    if context.args.to or engines.records().live(model) is None:  # else a damaged record of another release may be
        found = records_of(context, engines, model)
        to = chosen(found, context.args.to, model).release if context.args.to else None
    reason = context.args.reason or f"rolled back by hand by {by}"
    engines.roll_back().begin(model, reason, by, to)
    engines.roll_back().finish(model, context.say)
    live = engines.records().live(model)
    context.say(f"{model}: {live.release if live else 'nothing'} is live.")
    return 0


def _rebuild(context: Context) -> int:
    from genai_pipeline.automation.rollouts import releases_of
    from genai_pipeline.cli.rebuild import open_instance, rebuild
    from genai_pipeline.core.model_file import read_models

    engines, files = context.engines(), read_models(context.models)
    if context.args.model:
        require_known(context, context.args.model)
    specs = [s for s in files.specs if context.args.model in (None, s.name)]
    code = 0
    with open_instance(context.env, engines.profile) as instance:
        for spec in specs:
            records, damaged = engines.records().readable(spec.name)
            for error in damaged:
                sys.stderr.write(f"error: {error}\n")
                code = 1
            context.say(f"{spec.name}: {rebuild(instance, spec, records, releases_of(spec).name or '')}")
    return code


def records_of(context: Context, engines: Engines, model: str) -> list[Record]:
    """Of a model that has records or a file here; files of other models may be wrong or gone.

    Raises: NotFound: neither; names what comes close.
    """
    found = engines.records().all(model) if _may_be_named(model) else []
    if not found:
        require_known(context, model, also=engines.records().models())
    return found


def _may_be_named(model: str) -> bool:
    """Some stores read `releases//` as `releases/`, and would take what is of other models for its records."""
    return bool(model) and "/" not in model


def require_known(context: Context, model: str, also: Iterable[str] = ()) -> None:
    """Raises: NotFound: no file here and none of `also` has this name; names what comes close."""
    from genai_pipeline.core.model_file import read_models

    known = sorted({spec.name for spec in read_models(context.models).specs} | set(also))
    if model not in known:
        raise NotFound(f"There is no model {model}.", _hint(model, known, "Known models"))


def chosen(found: Sequence[Record], which: str, model: str) -> Record:
    """By its id or its first digits. Raises: NotFound: names what comes close."""
    exact = [r for r in found if r.release == which]
    fitting = exact or [r for r in found if which and r.release.startswith(which)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise NotFound(
            f"{which} begins {len(fitting)} releases of {model}.",
            f"Name one of {', '.join(r.release for r in fitting)}.",
        )
    newest = [r.release for r in reversed(found)]
    raise NotFound(f"{model} has no release {which}.", _hint(which, newest, "Known releases"))


def _hint(name: str, known: Sequence[str], title: str) -> str:
    meant = f"Did you mean {found}? " if (found := closest(name, known)) else ""
    return f"{meant}{title}: {', '.join(known[:8]) or 'none'}{', …' if len(known) > 8 else ''}."


def _user(context: Context) -> str:
    """GENAI_USER, or user@host. Raises: Refused: neither is known."""
    given = context.env.get("GENAI_USER", "").strip()
    if given:
        return given
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError, ImportError) as error:  # an account without a name, as in many containers
        raise Refused("It is not known who you are.", "Set GENAI_USER: it stands in the record.") from error


def _page(model: str, rows: Sequence[dict[str, str]]) -> RenderableType:
    """A paragraph each, newest first: as many columns as there are things to say fit no terminal."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    paragraphs: list[RenderableType] = []
    for row in rows:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(no_wrap=True)
        facts.add_column(overflow="fold")
        for name, said in row.items():
            if said and name not in ("release", "state"):
                facts.add_row(name, Text(_plain(said)))
        paragraphs += [Text(f"{model}@{row['release']}  {row['state']}"), Padding(facts, (0, 0, 1, 2))]
    return Group(*paragraphs)


def _plain(text: str) -> str:
    """Without what moves a terminal: a reason may quote what an engine printed."""
    from rich.text import Text

    return Text.from_ansi(text).plain
