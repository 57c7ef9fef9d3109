"""Which Alertmanager a laptop starts, what it reads, and where the webhook's address is."""

from __future__ import annotations

from pathlib import Path

import pytest

from genai_pipeline.core.profile import LOCAL_PORTS
from genai_pipeline.local.alertmanager_server import find_alertmanager, webhook_file
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.prometheus_server import find_prometheus
from genai_pipeline.local.service_catalog import Service, services
from genai_pipeline.local.start import start_services
from genai_pipeline.local.stop import stop_services

SECRET = "https://hooks.example.com/services/veryprivate"
GOOD = "alertmanager, version 0.25.0 (branch: x)"


def machine(folder: Path, said: str = GOOD, name: str = "alertmanager", webhook: str = SECRET) -> dict[str, str]:
    """Return an environment with a Prometheus and a program that says a version."""
    for program, words in (("prometheus", "prometheus, version 3.5.0 (branch: x)"), (name, said)):
        (folder / program).write_text(f"#!/bin/sh\necho '{words}'\n")
        (folder / program).chmod(0o755)
    return {"PATH": str(folder), "GENAI_ALERT_WEBHOOK": webhook}


def found(env: dict[str, str]) -> tuple[bool, str, bool]:
    """Return whether there is one to start, what is said, and whether there is something to do."""
    alertmanager = find_alertmanager(env, find_prometheus(env))
    return alertmanager.program is not None, alertmanager.says, bool(alertmanager.remedy)


@pytest.mark.parametrize("name", ["alertmanager", "prometheus-alertmanager"])
def test_it_is_started_under_its_own_name_and_under_debians(tmp_path: Path, name: str):
    starts, says, to_do = found(machine(tmp_path, name=name))

    assert (starts, to_do) == (True, False)
    assert "0.25" in says


@pytest.mark.parametrize(
    ("changed", "says", "to_do"),
    [
        ({"webhook": ""}, "sent to no one", False),
        ({"webhook": "hooks.example.com"}, "no address", True),
        ({"said": "alertmanager, version 0.21.0 (branch: x)"}, "older than 0.22", True),
        ({"said": "not found"}, "no Alertmanager", True),
        ({"name": "other"}, "No Alertmanager is on PATH", True),
    ],
)
def test_without_one_it_is_said_that_alerts_are_sent_to_no_one(
    tmp_path: Path, changed: dict[str, str], says: str, to_do: bool
):
    starts, said, remedy = found(machine(tmp_path, **changed))

    assert not starts
    assert says in said
    assert remedy == to_do
    assert "veryprivate" not in said


def test_the_users_own_prometheus_sends_its_own_alerts(tmp_path: Path):
    starts, says, _ = found(machine(tmp_path) | {"GENAI_PROMETHEUS_URL": "http://mine"})

    assert not starts
    assert "GENAI_ALERT_WEBHOOK is not used" in says


def started(folder: Path, env: dict[str, str]) -> dict[str, Service]:
    return {service.name: service for service in services(Installation(folder / "h"), LOCAL_PORTS, env)}


def test_only_a_private_file_has_the_address_of_the_webhook(tmp_path: Path):
    alertmanager = started(tmp_path, machine(tmp_path))
    with_secret = [
        str(path)
        for service in alertmanager.values()
        for path, text in {**service.files, "program": repr(service.program)}.items()
        if "veryprivate" in text
    ]

    assert with_secret == [str(webhook_file(tmp_path / "h"))]


def test_that_file_is_for_its_owner_only_and_goes_when_it_is_no_longer_used(tmp_path: Path):
    env, installation = machine(tmp_path), Installation(tmp_path / "h")
    file = webhook_file(installation.home)
    try:
        start_services(installation, env, lambda _: None, lambda *_: [started(tmp_path, env)["alertmanager"]])
        assert (file.read_text(), file.stat().st_mode & 0o777) == (SECRET, 0o600)

        start_services(installation, env, lambda _: None, lambda *_: [])
    finally:
        stop_services(installation, lambda _: None)

    assert not file.exists()


def test_prometheus_sends_alerts_only_where_an_alertmanager_runs(tmp_path: Path):
    beside, alone = started(tmp_path, machine(tmp_path)), started(tmp_path, machine(tmp_path, webhook=""))
    config = Installation(tmp_path / "h").home / "prometheus" / "prometheus.yml"

    assert f"127.0.0.1:{LOCAL_PORTS['alertmanager']}" in beside["prometheus"].files[config]
    assert "alerting" not in alone["prometheus"].files[config]
    assert "alertmanager" not in alone
    assert beside["prometheus"].program != alone["prometheus"].program
