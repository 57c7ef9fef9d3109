"""`genai up`: services, then the rollouts that the version sensors start, then a question to each live model.

It only watches: killed at any time, everything goes on, and the next one shows the rest.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from genai_pipeline.cli.chat_front_end import follow_the_choice, how_to_sign_in, prepare_open_webui
from genai_pipeline.cli.first_look import addresses, first_answer
from genai_pipeline.cli.progress_view import check_table, grouped, progress_on
from genai_pipeline.cli.rollout_progress import ENDED_BADLY, ENDS, ProgressReader, RolloutProgress, State
from genai_pipeline.core.errors import GenaiError, NotReady, ReleaseRefused
from genai_pipeline.core.model_file import model_paths
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.progress import Log
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.dagster_api import DagsterApi
from genai_pipeline.k8s.render import render_agent_keys
from genai_pipeline.local.installation import Installation, engines_of
from genai_pipeline.local.log_files import last_lines
from genai_pipeline.local.start import Started, start_services
from genai_pipeline.local.supervision.supervisor import Supervisor
from genai_pipeline.rollout.record.records import Records

if TYPE_CHECKING:
    from rich.console import Console

POLL_S = 1.0


@dataclass(frozen=True)
class RunningInstallation:
    """An installation whose services run, with its gateways."""

    installation: Installation
    profile: Profile
    gateways: Gateways
    api: DagsterApi


def bring_up(profile: Profile, env: Mapping[str, str], models: Path, say: Log) -> RunningInstallation:
    """Start the services, and set right what an interrupted predecessor left.

    Args:
        env: the user's environment.
    """
    installation = Installation.of(profile)
    started = start_services(installation, env, say)
    engines = engines_of(profile, env)
    api = DagsterApi(engines.profile.dagster_url)
    platform = RunningInstallation(installation, engines.profile, engines.gateways, api)
    platform.gateways.store.ensure_bucket()
    hand_over_keys(platform, env)
    prepare_open_webui(platform.profile, platform.gateways, env, say)
    follow_the_choice(platform.profile, platform.gateways, models, say)
    _load_models(platform, models, started, say)
    end_lost_runs(platform.api, Supervisor(installation.home), say)
    return platform


def hand_over_keys(platform: RunningInstallation, env: Mapping[str, str]) -> None:
    """Callers' keys, where there are some, into the Secret that the agents' pods take them from."""
    if platform.profile.agent_keys_secret:
        platform.gateways.cluster.apply(render_agent_keys(platform.profile, env["AGENT_API_KEYS"]))


def end_lost_runs(api: DagsterApi, supervisor: Supervisor, say: Log) -> None:
    """Runs are children of the code server: one that is older than it has no process, and Dagster does not notice."""
    code = supervisor.info("code")
    for run in api.unfinished_runs():
        if code and run.status != "QUEUED" and run.created_at < code.started_at:
            api.cancel(run.id)
            say(f"the run {run.id[:8]} of {run.release or run.job} lost its process; the sensor starts another one")


def watch_rollouts(
    platform: RunningInstallation, specs: Sequence[ModelSpec], console: Console, deadline_s: float
) -> list[RolloutProgress]:
    """Show the rollouts until each has ended.

    Raises: NotReady: the deadline passed, with what was being waited for; or the services were stopped meanwhile.
    """
    watch, end = ProgressReader(platform.gateways, platform.api), time.monotonic() + deadline_s
    supervisor = Supervisor(platform.installation.home)
    before: set[tuple[str, str | None]] | None = None
    with progress_on(console) as progress:
        while True:
            looked = [watch.look(spec) for spec in specs]
            if before is None:
                before = {(r.model, r.release) for r in looked if r.state in ENDED_BADLY}
            seen = [replace(r, ended_before=(r.model, r.release) in before) for r in looked]
            progress.show(seen)
            if all(rollout.state in ENDS for rollout in seen):
                return seen
            if not supervisor.is_running():  # nothing can change any more
                raise NotReady("The services were stopped meanwhile.", "`genai up` starts them, and goes on.")
            if time.monotonic() > end:
                raise NotReady(
                    f"Not live within {deadline_s / 60:.0f} min. " + diagnosis(platform, seen),
                    "It goes on by itself: `genai up` shows it again, `genai logs` the logs.",
                )
            time.sleep(POLL_S)


def diagnosis(platform: RunningInstallation, rollouts: Sequence[RolloutProgress]) -> str:
    """Log what each model waits for, with the log lines nearest to it."""
    parts: list[str] = []
    for rollout in rollouts:
        if rollout.state in ENDS:
            continue
        running = [a.name for a in rollout.assets if a.state == "running"]
        what = f"{', '.join(running)} still at work" if running else rollout.note or "its run has not begun"
        parts.append(f"{rollout.model}: {what}.\n{_nearest_log(platform, rollout, running)}")
    return "\n".join(parts)


def _nearest_log(platform: RunningInstallation, rollout: RolloutProgress, running: Sequence[str]) -> str:
    component = "agent" if {"agent_candidate", "agent_report"} & set(running) else "engine"
    if rollout.release and {"candidate", "serving_report", "agent_candidate", "agent_report", "live"} & set(running):
        labels = {"genai-pipeline/release": rollout.release, "app.kubernetes.io/component": component}
        try:
            return platform.gateways.cluster.logs(labels, 15)
        except GenaiError as error:
            return str(error)
    service = "code" if running else "daemon"
    return last_lines(platform.installation.log(service), 15)


def require_live(rollouts: Sequence[RolloutProgress], console: Console, api: DagsterApi) -> None:
    """Print why a release was rejected or rolled back. Raises: ReleaseRefused: one was, and not before this command."""
    refused = [rollout for rollout in rollouts if rollout.is_refused]
    for rollout in refused:
        for asset in rollout.assets:
            for names, about in grouped(asset.not_passed):
                console.print(f"\n{asset.name}: {names}\n{about}", markup=False, soft_wrap=True)
        if rollout.run:
            console.print(f"\nRun: {api.run_url(rollout.run.id)}", markup=False, soft_wrap=True)
    if refused:
        live = [f"{r.model} {r.live.release}" for r in refused if r.live]
        raise ReleaseRefused(
            f"{'. '.join(_why_refused(r) for r in refused)}. "
            + (f"Still live: {', '.join(live)}." if live else "Nothing is live."),
            "Publish a better revision or change the model file: the sensor starts a new rollout by itself.",
        )


def _why_refused(rollout: RolloutProgress) -> str:
    """The checks by name, as the table above has their words; else the record's reason."""
    checks = [f"{asset.name}.{verdict.check}" for asset in rollout.assets for verdict in asset.not_passed]
    reason = ", ".join(checks) or (rollout.record.reason if rollout.record else "")
    return f"{rollout.state.capitalize()}: {rollout.model} {rollout.release} ({reason})"


def wait_until_served(platform: RunningInstallation, spec: ModelSpec, rollout: RolloutProgress, say: Log) -> None:
    """After a `genai down` the live release is live at once, but its processes need their time to load.

    Raises: NotReady: they did not answer within the model's start-up deadline.
    """
    from genai_pipeline.rollout.switch.traffic import Traffic

    if rollout.live is None:
        return
    release = Records(platform.gateways.store).require(spec.name, rollout.live.release).as_release
    traffic, end, said = (
        Traffic(platform.gateways, platform.profile),
        time.monotonic() + spec.serving.startup_deadline_s,
        "",
    )
    while why := traffic.why_not_served_by(release):
        if why != said:
            say(f"{spec.name}: waiting for the live release to answer: {why}")
            said = why
        if time.monotonic() > end:
            raise NotReady(
                f"{spec.name} {release.id} is live but does not answer: {why}", f"See `genai logs {spec.name}`."
            )


def _load_models(platform: RunningInstallation, models: Path, started: Started, say: Log) -> None:
    """Have a code server that was running before read model files that changed since."""
    digest = hashlib.sha256(
        b"".join(path.name.encode() + path.read_bytes() for path in model_paths(models))
    ).hexdigest()
    loaded = platform.installation.dagster_home / "models.sha256"
    if "code" not in started.fresh and (not loaded.exists() or loaded.read_text() != digest):
        say("reading the model files again")
        platform.api.reload()
    loaded.write_text(digest)


def _as_served(platform: RunningInstallation, spec: ModelSpec, rollout: RolloutProgress) -> ModelSpec:
    """Return the model file with the task and the agent of the live release, which may not be the wanted one."""
    if rollout.live is None:
        return spec
    return spec.as_released(Records(platform.gateways.store).require(spec.name, rollout.live.release).model_spec)


def present(platform: RunningInstallation, spec: ModelSpec, rollout: RolloutProgress, console: Console) -> None:
    """Print the end of `genai up`: the checks, the addresses, and a first answer."""
    if rollout.ended_before and rollout.live:
        what = f"{_why_refused(rollout)}. {spec.name} {rollout.live.release} stays live."
        console.print(what, markup=False, soft_wrap=True)
    elif rollout.state is not State.LIVE:
        console.print(f"{spec.name}: {rollout.state} {rollout.note}", markup=False)
        return
    wait_until_served(platform, spec, rollout, lambda text: console.print(text, markup=False, soft_wrap=True))
    served = _as_served(platform, spec, rollout)
    shown = [
        "",
        f"Dagster UI    {platform.profile.dagster_url}",
        *addresses(platform.gateways, served, how_to_sign_in(platform.profile)),
        "",
        *first_answer(platform.gateways, served),
    ]
    if rollout.state is State.LIVE:
        console.print(check_table(rollout))
    for line in shown:
        console.print(line, markup=False, soft_wrap=True)
