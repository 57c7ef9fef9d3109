"""`genai status`: what runs and what is live, as plain data. The JSON is an interface: fields are only added.

```
{"schema": 1, "profile": "local", "home": "…",
 "services": [{"name", "state", "pid", "address", "since"}],
 "metrics": {"source", "says", "dashboards", "alerts"},
 "chat": {"front_end", "address", "sign_in"},
 "models": [{"name", "readable", "live", "last_good", "since", "watched_until",
             "endpoints": {"openai", "agent"},
             "releases": [{"release", "revision", "phase", "reason", "attempts",
                           "verdicts": {"passed", "failed", "inconclusive", "missing"},
                           "not_passed": [{"check", "outcome", "summary"}],
                           "not_applicable": [{"check", "why"}], "timings", "waits_for"}]}],
 "problems": ["…"]}
```
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from genai_pipeline.core.clock import for_people, iso_utc
from genai_pipeline.core.errors import ClusterUnavailable, GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.purpose import by_reason
from genai_pipeline.core.record import Phase, Record
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways import Gateways
from genai_pipeline.k8s.chat import CHAT_UI
from genai_pipeline.k8s.render import stable_name
from genai_pipeline.local.alertmanager_server import ALERTMANAGER, RUNS, find_alertmanager
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.open_webui_account import sign_in
from genai_pipeline.local.ports import HOST
from genai_pipeline.local.prometheus_server import OWN_METRICS, PROMETHEUS, FoundProgram, find_prometheus
from genai_pipeline.local.service_catalog import OPTIONAL, PORT_OF, SERVICES
from genai_pipeline.local.supervision.supervisor import ProcessInfo, Supervisor
from genai_pipeline.rollout.control.rollout_plan import what_it_waits_for
from genai_pipeline.rollout.record.records import Records

if TYPE_CHECKING:
    from rich.console import RenderableType

SCHEMA = 1
LINE = 160
T = TypeVar("T")


def status_of(
    profile: Profile, gateways: Gateways, specs: Sequence[ModelSpec], env: Mapping[str, str]
) -> dict[str, Any]:
    """Everything, as far as it answers; what does not is in `problems`.

    Args:
        env: the user's environment, in which a Prometheus is looked for.
    """
    problems: list[str] = []
    prometheus = find_prometheus(env) if profile.name == "local" else None
    alertmanager = find_alertmanager(env, prometheus) if prometheus else None
    installed = {PROMETHEUS: prometheus, ALERTMANAGER: alertmanager}
    programs = {name for name, found in installed.items() if found and found.program}
    services = _services(profile, programs, problems) if prometheus else []
    models = [_model(spec, gateways, problems) for spec in specs]
    return {
        "schema": SCHEMA,
        "profile": profile.name,
        "home": str(profile.home),
        "services": services,
        "metrics": {**_metrics(profile, prometheus, services), "alerts": _alerts(alertmanager, services)},
        "chat": _chat(profile, gateways, problems),
        "models": models,
        "problems": list(dict.fromkeys(problems)),
    }


def _metrics(
    profile: Profile, prometheus: FoundProgram | None, services: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return where metrics are read, and what there is of a Prometheus on this machine."""
    running = any(s["name"] == PROMETHEUS and s["state"] == "running" for s in services)
    ours = prometheus is not None and prometheus.program is not None
    source = profile.prometheus_url if running or not ours else None
    says = [prometheus.says, prometheus.remedy] if prometheus else [OWN_METRICS] if source is None else []
    return {
        "source": source or "each engine's own /metrics",
        "says": " ".join(filter(None, says)),
        "dashboards": profile.dashboards_url if source else None,
    }


def _alerts(alertmanager: FoundProgram | None, services: Sequence[Mapping[str, Any]]) -> str:
    """Return where alerts go. Only the installation's own Alertmanager is known here."""
    runs = any(s["name"] == ALERTMANAGER and s["state"] == "running" for s in services)
    found = RUNS if runs else alertmanager
    return " ".join(filter(None, [found.says, found.remedy])) if found else ""


def _chat(profile: Profile, gateways: Gateways, problems: list[str]) -> dict[str, Any]:
    """Return which front end there is, and where. On a cluster its account is in a Secret."""
    deployed = _tried(lambda: gateways.cluster.get("Service", CHAT_UI), None, problems)
    address = _tried(lambda: gateways.cluster.address(CHAT_UI), None, problems) if deployed else None
    own = profile.chat == "open-webui" and profile.name == "local"
    return {"front_end": profile.chat, "address": address, "sign_in": sign_in(profile.home) if own else None}


def _services(profile: Profile, programs: set[str], problems: list[str]) -> list[dict[str, Any]]:
    installation = Installation.of(profile)
    try:
        known = {info.name: info for info in Supervisor(profile.home).all()}
    except ClusterUnavailable:
        known = {}
        problems.append(f"Nothing runs in {profile.home}: supervisord does not answer. Run `genai up`.")
    ports = installation.ports()
    wanted = [name for name in SERVICES if name not in OPTIONAL or name in known or name in programs]
    found = [_service(name, known.get(name), ports) for name in wanted]
    if known:
        problems.extend(
            f"The service {s['name']} is {s['state']}. See `genai logs {s['name']}`; `genai up` starts it."
            for s in found
            if s["state"] != "running"
        )
    return found


def _service(name: str, info: ProcessInfo | None, ports: dict[str, int]) -> dict[str, Any]:
    port = ports.get(PORT_OF.get(name, ""))
    return {
        "name": name,
        "state": info.state.lower() if info else "stopped",
        "pid": info.pid if info else None,
        "address": f"http://{HOST}:{port}" if port else None,
        "since": iso_utc(datetime.fromtimestamp(info.started_at, UTC), "seconds") if info and info.running else None,
    }


def _model(spec: ModelSpec, gateways: Gateways, problems: list[str]) -> dict[str, Any]:
    records, silence = Records(gateways.store), list[str]()
    live = _tried(lambda: records.live(spec.name), None, silence)
    problems.extend(silence)
    releases, damaged = _tried(lambda: records.readable(spec.name), ([], []), problems)
    problems.extend(str(error) for error in damaged)
    endpoints = {
        name: _tried(lambda c=component: _endpoint(spec.name, c, gateways), None, problems)
        for name, component in (("openai", "engine"), ("agent", "agent"))
    }
    return {
        "name": spec.name,
        "readable": not silence,
        "live": live.release if live else None,
        "last_good": live.last_good if live else None,
        "since": live.since if live else None,
        "watched_until": live.watched_until if live else None,
        "endpoints": endpoints,
        "releases": [release_status(record, spec) for record in releases],
    }


def _endpoint(model: str, component: str, gateways: Gateways) -> str | None:
    service = stable_name(model, component)
    if gateways.cluster.get("Service", service) is None:
        return None
    path = "/v1" if component == "engine" else "/agent"
    return gateways.cluster.address(service) + path


def release_status(record: Record, spec: ModelSpec) -> dict[str, Any]:
    """Return one release: how many verdicts of each kind, every one that is not passed, what it waits for."""
    outcomes = Counter(str(v.outcome) for v in record.verdicts.values())
    return {
        "release": record.release,
        "revision": record.revision,
        "phase": str(record.phase),
        "reason": record.reason,
        "attempts": record.attempt,
        "verdicts": {str(o): outcomes.get(str(o), 0) for o in Outcome} | {"missing": len(record.missing)},
        "not_passed": [
            {"check": name, "outcome": str(v.outcome), "summary": v.summary}
            for name, v in sorted(record.verdicts.items())
            if not v.passed
        ],
        "not_applicable": [{"check": name, "why": why} for name, why in record.not_applicable.items()],
        "timings": dict(record.timings),
        "waits_for": what_it_waits_for(spec, record, datetime.now(UTC)) or None,
    }


def _tried(ask: Callable[[], T], otherwise: T, problems: list[str]) -> T:
    try:
        return ask()
    except GenaiError as error:
        problems.append(str(error))
        return otherwise


def status_page(status: dict[str, Any]) -> list[RenderableType]:
    """The same for a terminal."""
    from rich.markup import escape
    from rich.table import Table

    services = Table(title="services", title_justify="left", box=None)
    for column in ("name", "state", "pid", "address"):
        services.add_column(column)
    for service in status["services"]:
        services.add_row(service["name"], service["state"], str(service["pid"] or ""), service["address"] or "")
    page: list[RenderableType] = [services] if status["services"] else []
    page += [escape(line) for line in (*_metrics_lines(status["metrics"]), *_chat_lines(status["chat"]))]
    for model in status["models"]:
        page += [escape(_headline(model))] + ([_model_table(model)] if model["releases"] else [])
        page += [escape(line) for line in _not_applicable(model)]
    return page + [f"[yellow]{escape(problem)}[/]" for problem in status["problems"]]


def _metrics_lines(metrics: dict[str, Any]) -> list[str]:
    lines = [f"Metrics from {metrics['source']}. {metrics['says']}".strip(), *filter(None, [metrics["alerts"]])]
    return [*lines, f"Dashboards: {metrics['dashboards']}"] if metrics["dashboards"] else lines


def _chat_lines(chat: dict[str, Any]) -> list[str]:
    return [" ".join(filter(None, ["Chat:", chat["address"], chat["sign_in"]]))] if chat["address"] else []


def _shortened(text: str) -> str:
    """The JSON has all of it."""
    return text if len(text) <= LINE else text[: LINE - 1] + "…"


def _headline(model: dict[str, Any]) -> str:
    addresses = [address for address in model["endpoints"].values() if address]
    phase = {release["release"]: release["phase"] for release in model["releases"]}.get(model["live"])
    parts = [f"{model['name']}: live {model['live'] or ('none' if model['readable'] else 'unknown')}", *addresses]
    if phase == Phase.ROLLED_BACK:
        parts.append("being rolled back")
    elif model["watched_until"]:
        parts.append(f"watched until {for_people(model['watched_until'])}")
    return " · ".join(parts)


def _not_applicable(model: dict[str, Any]) -> list[str]:
    """Return a line for each reason why checks do not apply to the newest release."""
    newest = model["releases"][-1]["not_applicable"] if model["releases"] else []
    found = by_reason({each["check"]: each["why"] for each in newest})
    return [f"not applicable: {', '.join(names)}. {why}" for why, names in found.items()]


def _model_table(model: dict[str, Any]) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None)
    for column in ("release", "phase", "checks", "why"):
        table.add_column(column)
    for release in model["releases"]:
        counts = " ".join(f"{count} {kind}" for kind, count in release["verdicts"].items() if count)
        counts += f" {len(release['not_applicable'])} not applicable" if release["not_applicable"] else ""
        reasons = "\n".join(_shortened(f"{v['check']} {v['outcome']}: {v['summary']}") for v in release["not_passed"])
        table.add_row(
            release["release"], release["phase"], counts, escape(reasons or release["waits_for"] or release["reason"])
        )
    return table
