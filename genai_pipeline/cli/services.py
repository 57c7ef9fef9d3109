"""Commands about the services and about what runs on them: up, down, status, doctor, logs, env."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from genai_pipeline.cli.context import Command, Context, require_local

if TYPE_CHECKING:
    from genai_pipeline.cli.doctor import Finding


def announce(command: Command) -> None:
    up = command("up", _up, "start everything, roll the models out, ask each live model a question")
    up.add_argument("--model", help="wait for this model only")
    up.add_argument("--no-wait", action="store_true", help="return when the services answer")
    up.add_argument("--deadline", type=float, default=30, metavar="MIN", help="minutes to wait (default 30)")
    up.set_defaults(interrupted="What was started keeps running; `genai up` shows it, `genai down` stops it.")
    command("down", _down, "stop everything; state is kept")
    status = command("status", _status, "show services, releases, verdicts and endpoints")
    status.add_argument("model", nargs="?", help="default: every model")
    status.add_argument("--json", action="store_true", help="for programs")
    doctor = command("doctor", _doctor, "look for what keeps it from running here")
    doctor.add_argument("--probe", action="store_true", help="on a cluster: also ask by short-lived pods")
    doctor.add_argument("--deadline", type=float, default=120, metavar="S", help="seconds for the pods (default 120)")
    logs = command("logs", _logs, "show the log of a service, of a model's engine or of its agent")
    logs.add_argument("name", help="a service of `genai status`, a model, <model>-agent, or agent")
    logs.add_argument("-n", "--lines", type=int, default=50, help="how many of its last lines (default 50)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    env = command("env", _env, 'print what tools run by hand need: eval "$(genai env)"')
    env.add_argument(
        "--from-terraform",
        nargs="?",
        const="-",
        metavar="FILE",
        help="the settings that `terraform output -json` printed into FILE, or prints into this command",
    )


def _up(context: Context) -> int:
    from genai_pipeline.cli import doctor, up

    require_local(context, "up")
    specs = context.valid_models(context.args.model, context.say)
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
    from genai_pipeline.local.stop import give_back_attempt, stop_services

    require_local(context, "down")
    records = context.engines().records()
    stop_services(Installation.of(context.profile), context.say, lambda run: give_back_attempt(records, run))
    context.say(f"Down: nothing runs, nothing listens. State is kept in {context.profile.home}.")
    return 0


def _status(context: Context) -> int:
    import json

    from genai_pipeline.cli.releases import require_known
    from genai_pipeline.cli.status import status_of, status_page
    from genai_pipeline.core.model_file import read_models

    asked, engines = context.args.model, context.engines()
    if asked:
        require_known(context, asked)
    files = read_models(context.models, engines.profile.name == "local")
    specs = [spec for spec in files.specs if asked in (None, spec.name)]
    status = status_of(engines.profile, engines.gateways, specs, context.env)
    status["problems"] += [problem for error in files.errors for problem in error.problems]
    if context.args.json:
        sys.stdout.write(json.dumps(status, indent=1, ensure_ascii=False) + "\n")
    else:
        for part in status_page(status):
            context.console.print(part)
    return 0


def _doctor(context: Context) -> int:
    from genai_pipeline.cli import doctor
    from genai_pipeline.core.errors import Refused

    engines = context.engines()
    profile, gateways = engines.profile, engines.gateways
    if profile.name == "local":
        if context.args.probe:
            raise Refused("`genai doctor --probe` asks by pods of a cluster.", "Leave --probe out on one machine.")
        findings = doctor.all_findings(profile, context.env, context.models, gateways.source)
    else:
        from genai_pipeline.cli.cluster_doctor import cluster_findings

        findings = cluster_findings(profile, context.env, context.models, gateways)
    for finding in findings:
        _print_finding(context, finding)
    if context.args.probe:
        from genai_pipeline.cli.probe.pods_probe import probe_findings
        from genai_pipeline.cli.probe.probe_jobs import ProbeJobs

        jobs = ProbeJobs(gateways.cluster, context.args.deadline)
        found = probe_findings(profile, context.models, gateways, jobs, context.say)
        for finding in (new := [f for f in found if f not in findings]):
            _print_finding(context, finding)
        findings += new
    return 1 if doctor.failures(findings) else 0


def _logs(context: Context) -> int:
    from genai_pipeline.cli.show_logs import show_logs

    args = context.args
    for line in show_logs(context.profile, context.engines, context.models, args.name, args.lines, args.follow):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return 0


def _env(context: Context) -> int:
    from genai_pipeline.core.errors import NotFound, Refused
    from genai_pipeline.local.installation import Installation, export_lines

    if context.args.from_terraform:
        from genai_pipeline.cli.terraform_outputs import print_settings

        return print_settings(context.args.from_terraform)
    if context.profile.has_eks_nodes:
        raise Refused("`genai env` prints the settings of one machine.", "For EKS: `genai env --from-terraform FILE`.")
    require_local(context, "env")
    installation = Installation.of(context.profile)
    ports = installation.ports()
    if not ports:
        raise NotFound(f"There is no installation in {context.profile.home}.", "Run `genai up` first.")
    sys.stdout.write(export_lines(installation.environment(ports, context.env)) + "\n")
    return 0


def _print_finding(context: Context, finding: Finding) -> None:
    what = finding.what.removesuffix(".") if finding.remedy else finding.what
    context.say(f"{finding.level:4}  {what}" + (f". {finding.remedy}" if finding.remedy else ""))
