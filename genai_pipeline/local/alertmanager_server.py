"""The Alertmanager of one machine: it sends the alerts of the Prometheus that runs here to one webhook.

It is started where GENAI_ALERT_WEBHOOK is set and the program is installed. The address of the webhook is a secret: it
lies in a file that only its owner may read. `genai exporter` reads it there, and passes on what Alertmanager sends.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.local.ports import HOST
from genai_pipeline.local.prometheus_server import FoundProgram, version_in, version_of
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


RUNS = FoundProgram(None, f"Alertmanager sends alerts to the {ALERT_WEBHOOK} of the last `genai up`.")
"""One that runs. The variable need not be in the shell that asks."""


def find_alertmanager(env: Mapping[str, str], prometheus: FoundProgram) -> FoundProgram:
    """Decide whether there is an Alertmanager to start, and say what follows.

    Args:
        env: the user's environment.
        prometheus: whose alerts it would send.
    """
    url = env.get(ALERT_WEBHOOK)
    if prometheus.program is None:
        ignored = f"{ALERT_WEBHOOK} is not used: this installation starts no Prometheus."
        return FoundProgram(None, ignored if url else "")
    if not url:
        return FoundProgram(None, f"{TO_NO_ONE} To have them sent, set {ALERT_WEBHOOK} and run `genai up`.")
    if not url.startswith(("https://", "http://")):
        return FoundProgram(None, f"{ALERT_WEBHOOK} is no address. {TO_NO_ONE}", "It begins with https://.")
    program = next(filter(None, (shutil.which(name, path=env.get("PATH", "")) for name in PROGRAMS)), None)
    if program is None:
        return FoundProgram(None, f"No Alertmanager is on PATH. {TO_NO_ONE}", INSTALL)
    return _usable(program)


def _usable(program: str) -> FoundProgram:
    said = version_of(program)
    found = version_in(said)
    if found is None:
        return FoundProgram(None, f"{program} is no Alertmanager: {said[:80]!r}. {TO_NO_ONE}", INSTALL)
    if found.number < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return FoundProgram(None, f"Alertmanager at {program} is older than {oldest}. {TO_NO_ONE}", INSTALL)
    version = ".".join(map(str, found.number))
    return FoundProgram(program, f"Alertmanager {version} at {program} sends alerts to {ALERT_WEBHOOK}.")


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
