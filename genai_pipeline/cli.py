"""The `genai` command: parse, call, print. Everything slow is imported by the command that needs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genai_pipeline.core.errors import GenaiError

if TYPE_CHECKING:
    from rich.console import Console

    from genai_pipeline.core.profile import Profile

INTERRUPTED = 130


@dataclass(frozen=True)
class Context:
    """What every command gets. `env` is the user's environment as we found it."""

    args: argparse.Namespace
    env: dict[str, str]
    profile: Profile
    console: Console

    @property
    def models(self) -> Path:
        from genai_pipeline.local.installation import PROJECT

        return Path(self.env.get("GENAI_MODELS") or PROJECT / "models")

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 for an error, 2 for a wrong command line, 130 when interrupted."""
    args = _parser().parse_args(argv)
    env = dict(os.environ)
    try:
        return args.command(_context(args, env))
    except GenaiError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except BrokenPipeError:  # `genai logs | head`
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. What was started keeps running; `genai up` shows it, `genai down` stops it.\n")
        return INTERRUPTED


def _context(args: argparse.Namespace, env: dict[str, str]) -> Context:
    from rich.console import Console

    from genai_pipeline.core.errors import Refused
    from genai_pipeline.core.profile import Profile

    try:
        profile = Profile.load(env)
    except ValueError as error:
        raise Refused(str(error)) from error
    console = Console(highlight=False)
    if not console.is_terminal:  # a log has no width; its reader has more than rich's 80 columns
        console = Console(highlight=False, width=160)
    return Context(args, env, profile, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="genai", description="The life of a language model, from the hub to traffic.")
    commands = parser.add_subparsers(metavar="command", required=True)

    def command(name: str, run: Callable[[Context], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=run)
        return added

    up = command("up", _up, "start everything, roll the models out, ask the live agent a question")
    up.add_argument("--model", help="wait for this model only")
    up.add_argument("--no-wait", action="store_true", help="return when the services answer")
    up.add_argument("--deadline", type=float, default=30, metavar="MIN", help="minutes to wait (default 30)")
    command("down", _down, "stop everything; state is kept")
    status = command("status", _status, "show services, releases, verdicts and endpoints")
    status.add_argument("--json", action="store_true", help="for programs")
    command("doctor", _doctor, "look for what keeps it from running here")
    render = command("render", _render, "write the Kubernetes objects of a model as YAML")
    render.add_argument("model", nargs="?", help="default: every model")
    render.add_argument("--revision", help="commit of the model; default: what its ref stands for now")
    render.add_argument("--out", type=Path, help="folder for one file per object and a kustomization; default: stdout")
    render.add_argument("--rbac", action="store_true", help="the pipeline's own account and Role, for an administrator")
    logs = command("logs", _logs, "show the log of a service, of a model's engine or of its agent")
    logs.add_argument("name", help="a service of `genai status`, a model, <model>-agent, or agent")
    logs.add_argument("-n", "--lines", type=int, default=50)
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    publish = command("publish", _publish, "publish a revision on the embedded hub, as its owner would")
    publish.add_argument("revision", help="for example v2")
    publish.add_argument("--model", help="default: the one model")
    command("env", _env, 'print what tools run by hand need: eval "$(genai env)"')
    return parser


def _up(context: Context) -> int:
    from genai_pipeline.local import doctor, up

    _require_local(context, "up")
    specs = up.read_valid_models(context.models, context.args.model, context.say)
    findings = doctor.quick_findings(context.profile, context.env)
    for finding in findings:
        if finding.level != "ok":
            _print_finding(context, finding)
    if doctor.failures(findings):
        return 1
    platform = up.bring_up(context.profile, context.env, context.models, context.say)
    context.say(f"Dagster: {platform.profile.dagster_url}")
    if context.args.no_wait:
        return 0
    rollouts = up.watch_rollouts(platform, specs, context.console, context.args.deadline * 60)
    up.require_live(rollouts, context.console, platform.api)
    for spec, rollout in zip(specs, rollouts, strict=True):
        up.present(platform, spec, rollout, context.console)
    return 0


def _down(context: Context) -> int:
    from genai_pipeline.local.installation import Installation
    from genai_pipeline.local.stop import stop_services

    _require_local(context, "down")
    stop_services(Installation.of(context.profile), context.say)
    context.say(f"Down: nothing runs, nothing listens. State is kept in {context.profile.home}.")
    return 0


def _status(context: Context) -> int:
    import json

    from genai_pipeline.core.model_file import read_models
    from genai_pipeline.local.installation import adopt
    from genai_pipeline.local.status import status_of, status_page
    from genai_pipeline.resources.profile import gateways_for

    profile = adopt(context.profile)
    files = read_models(context.models)
    status = status_of(profile, gateways_for(profile), files.specs)
    status["problems"] += [problem for error in files.errors for problem in error.problems]
    if context.args.json:
        sys.stdout.write(json.dumps(status, indent=1, ensure_ascii=False) + "\n")
    else:
        for part in status_page(status):
            context.console.print(part)
    return 0


def _doctor(context: Context) -> int:
    from genai_pipeline.local import doctor
    from genai_pipeline.local.installation import adopt
    from genai_pipeline.resources.profile import gateways_for

    profile = adopt(context.profile)
    if profile.name == "local":
        findings = doctor.all_findings(profile, context.env, context.models, gateways_for(profile).hub)
    else:
        from genai_pipeline.local.cluster_doctor import cluster_findings

        findings = cluster_findings(profile, context.env, context.models, gateways_for(profile))
    for finding in findings:
        _print_finding(context, finding)
    return 1 if doctor.failures(findings) else 0


def _render(context: Context) -> int:
    from genai_pipeline.core.release import Release
    from genai_pipeline.local.installation import adopt
    from genai_pipeline.local.manifests import as_yaml, rbac_objects, rendered, write_objects
    from genai_pipeline.local.up import read_valid_models

    profile = adopt(context.profile)
    if context.args.rbac:
        folders = rbac_objects(profile)
    else:
        specs = read_valid_models(context.models, context.args.model, lambda text: print(text, file=sys.stderr))
        releases = [(s, Release.of(s, _revision(context, s.source.hub, s.source.ref, profile))) for s in specs]
        folders = rendered(releases, profile)
    if context.args.out is None:
        sys.stdout.write(as_yaml([o for _, objects in folders for o in objects]))
    else:
        for file in write_objects(folders, context.args.out):
            context.say(str(file))
    return 0


def _revision(context: Context, repository: str, ref: str, profile: Profile) -> str:
    from genai_pipeline.core.errors import Unavailable
    from genai_pipeline.resources.profile import gateways_for

    if context.args.revision:
        return context.args.revision
    try:
        return gateways_for(profile).hub.resolve(repository, ref)
    except Unavailable as error:
        raise Unavailable(error.what, "Run `genai up`, or name the commit with --revision.") from error


def _logs(context: Context) -> int:
    from genai_pipeline.local.show_logs import show_logs

    for line in show_logs(context.profile, context.models, context.args.name, context.args.lines, context.args.follow):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return 0


def _publish(context: Context) -> int:
    from genai_pipeline.local.publish import publish
    from genai_pipeline.local.up import read_valid_models

    _require_local(context, "publish")
    specs = read_valid_models(context.models, context.args.model, context.say)
    for line in publish(context.profile, specs, context.args.revision):
        context.say(line)
    return 0


def _env(context: Context) -> int:
    from genai_pipeline.core.errors import NotFound
    from genai_pipeline.local.installation import Installation, export_lines

    _require_local(context, "env")
    installation = Installation.of(context.profile)
    ports = installation.ports()
    if not ports:
        raise NotFound(f"There is no installation in {context.profile.home}.", "Run `genai up` first.")
    sys.stdout.write(export_lines(installation.environment(ports, context.env)) + "\n")
    return 0


def _require_local(context: Context, command: str) -> None:
    from genai_pipeline.core.errors import Refused

    if context.profile.name != "local":
        raise Refused(
            f"`genai {command}` is for GENAI_PROFILE=local; this is {context.profile.name}.",
            "There, Dagster and the cluster are run by their own operators; see docs/kubernetes.md.",
        )


def _print_finding(context: Context, finding: object) -> None:
    from genai_pipeline.local.doctor import Finding

    assert isinstance(finding, Finding)
    what = finding.what.removesuffix(".") if finding.remedy else finding.what
    context.say(f"{finding.level:4}  {what}" + (f". {finding.remedy}" if finding.remedy else ""))


if __name__ == "__main__":
    sys.exit(main())
