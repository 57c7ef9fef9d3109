"""An alert of our own rules goes from Prometheus through Alertmanager to a webhook, when it begins and when it ends."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.local.alertmanager_server import (
    PROGRAMS,
    alertmanager_command,
    alertmanager_files,
    webhook_file,
)
from genai_pipeline.local.ports import free_port
from genai_pipeline.observability.alert_relay import alert_relay
from genai_pipeline.observability.exporter_site import serving
from genai_pipeline.observability.rule_groups import all_groups
from tests.fakes import simulated_exporters as simulated
from tests.fakes.prometheus import Target, needs_prometheus, running_prometheus, until_ready
from tests.integration.observability.conftest import pod

ALERTMANAGER = next(filter(None, map(shutil.which, PROGRAMS)), None)
AMTOOL = shutil.which("amtool")
DEPLOY = Path(__file__).parents[3] / "deploy" / "observability"
DEBIAN = "(Debian: apt-get install prometheus-alertmanager)"
needs_alertmanager = pytest.mark.skipif(not ALERTMANAGER, reason=f"needs the program alertmanager {DEBIAN}")
needs_amtool = pytest.mark.skipif(not AMTOOL, reason=f"needs the program amtool {DEBIAN}")
DEADLINE_S = 120
SPEC = ModelSpec.model_validate(
    {"name": "weather", "source": {"hub": "owner/name"}, "rollout": {"breach": {"for": "1s"}}}
)


def example() -> Any:
    """Return the example of a webhook that users are given."""
    spec = importlib.util.spec_from_file_location("alert_receiver", DEPLOY / "alert_receiver.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Heard:
    """What the example of a webhook was sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._came = threading.Condition()

    def take(self, message: dict[str, Any]) -> None:
        with self._came:
            self.messages.append(message)
            self._came.notify_all()

    def until(self, status: str, alert: str) -> dict[str, Any]:
        """Return the message with an alert of that status."""

        def found() -> list[dict[str, Any]]:
            return [m for m in self.messages if (status, alert) in [_named(a) for a in m["alerts"]]]

        with self._came:
            assert self._came.wait_for(found, DEADLINE_S), self.messages
            return found()[0]


def _named(alert: dict[str, Any]) -> tuple[str, str]:
    return alert["status"], alert["labels"]["alertname"]


def quickly(text: str) -> str:
    """Return a configuration that waits for a second where people may wait for minutes."""
    return re.sub(r"(group_wait|group_interval): \S+", r"\1: 1s", text)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The files of `genai up`, with shorter waits."""
    return tmp_path / "home"


@pytest.fixture
def heard(home: Path) -> Iterator[Heard]:
    """The example receives what the exporter's page passes on."""
    heard = Heard()
    server = example().receiver(0, heard.take)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    webhook_file(home).parent.mkdir(parents=True)
    webhook_file(home).write_text(f"http://127.0.0.1:{server.server_port}/services/veryprivate")
    yield heard
    server.shutdown()
    server.server_close()


@pytest.fixture
def alertmanager(home: Path, heard: Heard) -> Iterator[str]:
    """Return host:port of a real one."""
    assert ALERTMANAGER
    ports = {"exporter": free_port(), "alertmanager": free_port()}
    for path, text in alertmanager_files(home, ports).items():
        path.write_text(quickly(text))
    with ExitStack() as stack:
        relay = {"/alerts": alert_relay(webhook_file(home))}
        stack.enter_context(serving("127.0.0.1", ports["exporter"], relay))
        log = stack.enter_context((home / "log").open("wb"))
        command = alertmanager_command(ALERTMANAGER, home, ports["alertmanager"])
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)
        stack.callback(process.wait)
        stack.callback(process.kill)
        address = f"127.0.0.1:{ports['alertmanager']}"
        until_ready(f"http://{address}", process, home / "log")
        yield address


def waiting(count: int) -> str:
    """Return what an engine exports while so many requests wait."""
    return re.sub(r"^(vllm:num_requests_waiting\{.*\}) \S+$", rf"\1 {count}", simulated.vllm(), flags=re.MULTILINE)


def until_logged(log: Path, words: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while words not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


@pytest.mark.long
@needs_prometheus
@needs_alertmanager
def test_an_alert_that_begins_and_ends_is_heard_twice(tmp_path: Path, home: Path, heard: Heard, alertmanager: str):
    there = webhook_file(home).read_text()
    webhook_file(home).write_text("http://127.0.0.1:1/services/veryprivate")
    with ExitStack() as stack:
        engine = stack.enter_context(simulated.Exporter(waiting(100)))
        exporter = stack.enter_context(simulated.Exporter(simulated.releases()))
        targets = [
            Target("engine", engine.target, pod("weather-a", "a")),
            Target("releases", exporter.target, {"namespace": "genai", "pod": "genai-exporter-0"}),
        ]
        groups = [{**group, "interval": "1s"} for group in all_groups([SPEC], Profile.of({"name": "local"}))]
        stack.enter_context(running_prometheus(tmp_path / "p", targets, groups, alertmanager=alertmanager))

        until_logged(home / "log", "503")  # the webhook does not answer yet, and Alertmanager tries again
        webhook_file(home).write_text(there)
        began = heard.until("firing", "GenaiQueueLong")
        engine.text = waiting(0)
        ended = heard.until("resolved", "GenaiQueueLong")

    for message, status in ((began, "firing"), (ended, "resolved")):
        (alert,) = [a for a in message["alerts"] if a["labels"]["alertname"] == "GenaiQueueLong"]
        assert (alert["labels"]["model"], alert["labels"]["release"], message["receiver"]) == (
            "weather",
            "a",
            "warning",
        )
        (line,) = [line for line in example().lines_of(message) if "GenaiQueueLong" in line]
        assert line.startswith(f"{status} warning GenaiQueueLong: weather a: 100 requests wait in the engine.")
        assert line.endswith("docs/operations.md#genaiqueuelong")
    assert "veryprivate" not in (home / "log").read_text()


def configurations() -> dict[str, Callable[[], dict[str, Any]]]:
    def of_chart() -> dict[str, Any]:
        config = yaml.safe_load((DEPLOY / "kube-prometheus-stack.yaml").read_text())["alertmanager"]["config"]
        for webhook in (w for receiver in config["receivers"] for w in receiver.get("webhook_configs", [])):
            webhook["url"] = f"http://127.0.0.1:9{webhook.pop('url_file')}"  # which Debian's does not know
        return config

    def of_laptop() -> dict[str, Any]:
        (text,) = alertmanager_files(Path("home"), {"exporter": 8593}).values()
        return yaml.safe_load(text)

    return {"chart": of_chart, "laptop": of_laptop}


@needs_amtool
@pytest.mark.parametrize("where", ["chart", "laptop"])
def test_alertmanager_takes_the_route_and_sends_by_severity(tmp_path: Path, where: str):
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(configurations()[where]()))

    def said(*args: str) -> str:
        assert AMTOOL
        asked = subprocess.run([AMTOOL, *args], capture_output=True, text=True, check=True, env=dict(os.environ))
        return asked.stdout.split("\n")[0].strip()

    def receiver(**labels: str) -> str:
        given = [f"{name}={value}" for name, value in labels.items()]
        return said("config", "routes", "test", f"--config.file={file}", *given)

    said("check-config", str(file))
    assert receiver(alertname="GenaiEngineUnseen", severity="critical", model="weather") == "critical"
    assert receiver(alertname="GenaiQueueLong", severity="warning", model="weather") == "warning"
    assert receiver(alertname="Watchdog", severity="none") == ("null" if where == "chart" else "warning")


def test_the_example_refuses_what_is_no_message(heard: Heard, home: Path):
    import httpx

    url = webhook_file(home).read_text()

    assert httpx.post(url, content=b"no json").status_code == 400
    assert httpx.post(url, json={"alerts": []}).status_code == 200
    assert heard.messages == [{"alerts": []}]
