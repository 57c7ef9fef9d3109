"""The command line: parse, call, print. Everything slow is imported by the command that needs it."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from genai_pipeline.cli import evaluation, exporting, models, releases, services, staging
from genai_pipeline.cli.context import Context, Run
from genai_pipeline.cli.plan import plan_command
from genai_pipeline.core.errors import GenaiError

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


class Terminated(KeyboardInterrupt):
    """SIGTERM: a command ends as at Ctrl-C, and leaves behind what it would leave then."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0, 1 for an error, 2 for a wrong command line, 130 when interrupted, 143 when terminated.
    """
    args = _parser().parse_args(argv)
    env = dict(os.environ)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return args.command(_context(args, env))
    except GenaiError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except BrokenPipeError:  # `genai logs | head`
        sys.stdout = None
        return 0
    except Terminated:
        sys.stderr.write(f"\nTerminated. {args.interrupted}\n")
        return TERMINATED
    except KeyboardInterrupt:
        sys.stderr.write(f"\nInterrupted. {args.interrupted}\n")
        return INTERRUPTED


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _context(args: argparse.Namespace, env: dict[str, str]) -> Context:
    from rich.console import Console

    from genai_pipeline.core.profile import Profile

    console = Console(highlight=False)
    if not console.is_terminal:  # a log has no width; its reader has more than rich's 80 columns
        console = Console(highlight=False, width=160)
    return Context(args, env, Profile.load(env), console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="genai",
        usage="genai [-h] command ...   (genai --help lists the commands)",
        description="The life of a language model, from the hub to traffic.",
    )
    commands = parser.add_subparsers(prog="genai", metavar="command", required=True)

    def command(name: str, run: Run, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=run, interrupted="Nothing is lost: run it again.")
        return added

    for group in (services, plan_command, models, releases, evaluation, staging, exporting):
        group.announce(command)
    return parser
