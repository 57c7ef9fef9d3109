"""The cluster from a shell: `python -m tests.cluster.machine up|down|status|run|build|image`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.cluster.machine import node
from tests.cluster.machine.build import built, compile_packages, on_path, tools
from tests.cluster.machine.cluster import CannotStart, Form, RunningCluster, down, find, up

FORMS: tuple[Form, ...] = ("simulated", "real")


def main() -> int:
    args = _arguments()
    try:
        return args.run(args)
    except CannotStart as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.machine", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run, text in (
        ("build", _build, "build the programs of a form, or of all forms that run here"),
        ("up", _up, "start; one that runs is left alone"),
        ("down", _down, "end, and remove every trace"),
        ("status", _status, "what runs"),
        ("run", _run, "start if needed and run a command in the cluster's network, with KUBECONFIG set"),
        ("image", _image, "make a docker archive's image known to the real node"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        command.add_argument("--form", choices=FORMS, help="default: real for root, else simulated")
        command.add_argument("--name", default="dev")
        if name == "run":
            command.add_argument("command", nargs=argparse.REMAINDER)
        if name == "image":
            command.add_argument("archive", type=Path)
    return parser.parse_args()


def _form(args: argparse.Namespace) -> Form:
    return args.form or ("real" if node.can_run() else "simulated")


def _build(args: argparse.Namespace) -> int:
    here: list[Form] = ["real", "simulated"] if node.can_run() else ["simulated"]
    for form in [args.form] if args.form else here:
        _say(f"programs of the {form} form: {built(form, _say)}")
    if "real" in here and args.form != "simulated":
        compile_packages(_say)
    return 0


def _up(args: argparse.Namespace) -> int:
    if not args.form and (lacking := node.lacking()):
        _say(f"Nodes and pods will be simulated: a real node needs {lacking}")
    cluster = up(args.name, _form(args), _say)
    _say(
        f"{cluster.name} runs. In this shell:\n"
        f"  export KUBECONFIG={cluster.outside_kubeconfig}\n"
        f"  export PATH={tools(built(cluster.form))}:$PATH"
    )
    return 0


def _down(args: argparse.Namespace) -> int:
    for form in [args.form] if args.form else FORMS:
        down(args.name, form)
    return 0


def _status(args: argparse.Namespace) -> int:
    for form in FORMS:
        cluster = find(args.name, form)
        _say(f"{args.name} {form}: {cluster.outside_kubeconfig if cluster else 'not running'}")
    return 0


def _run(args: argparse.Namespace) -> int:
    cluster: RunningCluster = up(args.name, _form(args), _say)
    cluster.enter()
    command = [word for i, word in enumerate(args.command) if (i, word) != (0, "--")]
    os.execvpe(
        command[0],
        command,
        os.environ
        | {
            "PATH": on_path(built(cluster.form)),
            "KUBECONFIG": str(cluster.kubeconfig),
            "GENAI_TEST_CLUSTER": args.name,
        },
    )


def _image(args: argparse.Namespace) -> int:
    up(args.name, "real", _say).import_image(args.archive)
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
