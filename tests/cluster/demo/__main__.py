"""The demo on the cluster, from a shell: `python -m tests.cluster.demo [up|publish REVISION]`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

from kubernetes.client.exceptions import ApiException
from rich.console import Console

from genai_pipeline.core.errors import GenaiError
from tests.cluster.demo.installation import Demo
from tests.cluster.demo.rollout import show_rollout
from tests.cluster.life.images import NEEDED
from tests.cluster.machine import node
from tests.cluster.machine.build import built, on_path
from tests.cluster.machine.cluster import CannotStart, Form, find, up

IMAGES = ("buildah",)
"""Debian packages that build the images of agent and chat page."""
EXPECTED = (CannotStart, RuntimeError, TimeoutError, ApiException, subprocess.TimeoutExpired)
"""Their words say what to do, or what did not answer."""
FORMS: tuple[Form, ...] = ("real", "simulated")


def main() -> int:
    """Run one command; returns the exit code."""
    args = _arguments()
    try:
        return _publish(args) if args.command == "publish" else _up(args)
    except (*EXPECTED, GenaiError) as error:
        print(f"error: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        said = error.stderr or b""
        print(f"error: {error}\n{said if isinstance(said, str) else said.decode()}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nInterrupted. What was started goes on: `make cluster-demo` shows it again.", file=sys.stderr)
        return 130
    return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    up_command = commands.add_parser("up", help="start it, roll the demo model out, ask it a question")
    up_command.add_argument("--form", choices=FORMS, help="default: real where that can run, else simulated")
    publish = commands.add_parser("publish", help="publish a revision of the demo model")
    publish.add_argument("revision", help="for example v2")
    for command in (up_command, publish):
        command.add_argument("--name", default="dev", help="of the cluster")
    return parser.parse_args(sys.argv[1:] or ["up"])


def _up(args: argparse.Namespace) -> int:
    form = args.form or _form()
    cluster = up(args.name, form, _say)
    os.environ["PATH"] = on_path(built(form))
    demo = Demo.of(cluster)
    demo.install(_say)
    if form == "real":
        demo.start_dagster(_say)
        _say(f"Dagster: {demo.outside['GENAI_DAGSTER_URL']}")
    refused = _show_rollout(demo) if form == "real" else 0
    _say(_next_steps(demo))
    return refused


def _show_rollout(demo: Demo) -> int:
    try:
        show_rollout(demo, Console(highlight=False))
    except GenaiError as error:  # the installation stands all the same
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _form() -> Form:
    """Say which form it becomes, and why."""
    lacking = [program for program in NEEDED if not shutil.which(program)]
    if node.can_run() and not lacking:
        _say("A real node: pods, traffic and vLLM are real.")
        return "real"
    packages = sorted({*node.missing_packages(), *(IMAGES if "buildah" in lacking else ())})
    install = f"apt-get install -y {' '.join(packages)}" if packages else ""
    needs = ["root"] * bool(os.geteuid()) + [f"the Debian packages {', '.join(packages)}"] * bool(packages)
    _say(
        f"Simulated nodes: no container runs, so that no model goes live. A real node needs {' and '.join(needs)}.\n"
        f"To get it: {' && '.join(filter(None, ['make cluster-down', install, 'make cluster-demo']))}"
        f"{', as root' if os.geteuid() else ''}\n"
    )
    return "simulated"


def _publish(args: argparse.Namespace) -> int:
    cluster = next((found for form in FORMS if (found := find(args.name, form))), None)
    if not cluster or not (cluster.folder / "demo").exists():
        raise CannotStart("The demo does not run. Start it with `make cluster-demo`.")
    sha = Demo.of(cluster).publish(args.revision)
    _say(f"Published {args.revision} ({sha[:12]}). Its rollout starts within seconds: `make cluster-demo` shows it.")
    return 0


def _next_steps(demo: Demo) -> str:
    python = os.path.relpath(sys.executable)
    steps = [
        (f"source {demo.folder / 'env'}", "kubectl and genai of this shell, with the pipeline's own account"),
        ("genai doctor && kubectl get pods", "what is there, and what is missing"),
    ]
    if demo.cluster.form == "real":
        steps += [
            ("genai status", "releases, verdicts, endpoints"),
            (f"{python} -m tests.cluster.demo publish v2", "a new revision; `make cluster-demo` shows its rollout"),
            (f"{python} -m tests.cluster.demo publish v3", "one with a regression, which its agent report rejects"),
            ('genai rollback weather --reason "to see it"', "back to the release before"),
        ]
    else:
        steps += [
            ("genai render --out manifests", "what a rollout applies"),
            ("kubectl apply --server-side --field-manager=genai-pipeline -k manifests", "apply it: pods are simulated"),
        ]
    steps += [("make cluster-down", "removes every trace")]
    width = max(len(command) for command, _ in steps)
    return "\nTo go on:\n" + "\n".join(f"  {command:{width}}  # {what}" for command, what in steps)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
