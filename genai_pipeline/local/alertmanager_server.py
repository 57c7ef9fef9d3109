"""The Alertmanager of one machine: it sends the alerts of the Prometheus that runs here to one webhook.

It is started where GENAI_ALERT_WEBHOOK is set and the program is installed. The address of the webhook is a secret: it
lies in a file that only its owner may read. `genai exporter` reads it there, and passes on what Alertmanager sends.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.local.ports import HOST
from genai_pipeline.local.prometheus_server import FoundPrometheus, number_of, version_of
from genai_pipeline.observability.alert_relay import ALERT_WEBHOOK
from genai_pipeline.observability.alert_routing import CRITICAL, WARNING, alert_routing

ALERTMANAGER = "alertmanager"
"""The name of the service and of its port."""
PROGRAMS = ("alertmanager", "prometheus-alertmanager")
"""Its name upstream, and Debian's."""
OLDEST = (0, 22)
"""The first version whose routes have `matchers`."""
KEPT_FOR = "48h"
TO_NO_ONE = "Alerts are sent to no one."
INSTALL = "Install Alertmanager (Debian: apt-get install prometheus-alertmanager), then run `genai up`."


@dataclass(frozen=True)
class FoundAlertmanager:
    """What there is on PATH. `program` is what `genai up` starts. Without a `remedy` the user need not do anything."""

    program: str | None
    says: str
    remedy: str = ""


RUNS = FoundAlertmanager(None, f"Alertmanager sends alerts to the {ALERT_WEBHOOK} of the last `genai up`.")
"""One that runs. The variable need not be in the shell that asks."""


def find_alertmanager(env: Mapping[str, str], prometheus: FoundPrometheus) -> FoundAlertmanager:
    """Decide whether there is an Alertmanager to start, and say what follows.

    Args:
        env: the user's environment.
        prometheus: whose alerts it would send.
    """
    url = env.get(ALERT_WEBHOOK)
    if prometheus.program is None:
        ignored = f"{ALERT_WEBHOOK} is not used: this installation starts no Prometheus."
        return FoundAlertmanager(None, ignored if url else "")
    if not url:
        return FoundAlertmanager(None, f"{TO_NO_ONE} To have them sent, set {ALERT_WEBHOOK} and run `genai up`.")
    if not url.startswith(("https://", "http://")):
        return FoundAlertmanager(None, f"{ALERT_WEBHOOK} is no address. {TO_NO_ONE}", "It begins with https://.")
    program = next(filter(None, (shutil.which(name, path=env.get("PATH", "")) for name in PROGRAMS)), None)
    if program is None:
        return FoundAlertmanager(None, f"No Alertmanager is on PATH. {TO_NO_ONE}", INSTALL)
    return _usable(program)


def _usable(program: str) -> FoundAlertmanager:
    said = version_of(program)
    number = number_of(said)
    if number is None:
        return FoundAlertmanager(None, f"{program} is no Alertmanager: {said[:80]!r}. {TO_NO_ONE}", INSTALL)
    if number < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return FoundAlertmanager(None, f"Alertmanager at {program} is older than {oldest}. {TO_NO_ONE}", INSTALL)
    version = ".".join(map(str, number))
    return FoundAlertmanager(program, f"Alertmanager {version} at {program} sends alerts to {ALERT_WEBHOOK}.")


def alertmanager_command(program: str, home: Path, port: int) -> Sequence[str]:
    """Return the command line: loopback only, alone, and bounded."""
    folder = home / ALERTMANAGER
    return (
        program,
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--data.retention={KEPT_FOR}",
        f"--web.listen-address={HOST}:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )


def alertmanager_files(home: Path, ports: Mapping[str, int]) -> dict[Path, str]:
    """Return what the program reads. It has no secret: the webhook is the page of the exporter."""
    relay = {"url": f"http://{HOST}:{ports['exporter']}/alerts"}
    config: dict[str, Any] = alert_routing({CRITICAL: relay, WARNING: relay})
    return {home / ALERTMANAGER / "alertmanager.yml": yaml.safe_dump(config, sort_keys=False)}


def webhook_file(home: Path) -> Path:
    """Return the file with the address of the webhook."""
    return home / ALERTMANAGER / "webhook"
