"""Every real service at once, with a paused model, so that no engine is loaded."""

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from dataclasses import replace

import pytest

from genai_pipeline.cli.up import end_lost_runs
from genai_pipeline.core.profile import LOCAL_PORTS, Profile
from genai_pipeline.gateways.dagster_api import DagsterApi
from genai_pipeline.local.alertmanager_server import ALERTMANAGER, find_alertmanager
from genai_pipeline.local.gpu_exporter import GPU_EXPORTER, has_gpu
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.ports import free_port, is_free
from genai_pipeline.local.prometheus_server import PROMETHEUS, find_prometheus
from genai_pipeline.local.service_catalog import SERVICES
from genai_pipeline.local.stop import processes_of, stop_services
from genai_pipeline.local.supervision.supervisor import Supervisor
from tests.fakes.model_texts import TOOLS
from tests.fakes.prometheus import Prometheus

pytestmark = pytest.mark.long
WEBHOOK = {"GENAI_ALERT_WEBHOOK": "http://127.0.0.1:9/veryprivate"}
FOUND = find_prometheus(os.environ)
THERE = {
    PROMETHEUS: FOUND.program,
    ALERTMANAGER: find_alertmanager({**os.environ, **WEBHOOK}, FOUND).program,
    GPU_EXPORTER: FOUND.program and has_gpu(),
}
EXPECTED = set(SERVICES) - {name for name, there in THERE.items() if not there}

PAUSED = "name: tiny\nsource: {hub: genai-demo/weather-agent}\nrollout: {paused: true}\n" + TOOLS


class Laptop:
    """`genai` in a home and with model files of its own."""

    def __init__(self, folder):
        self.models = folder / "models"
        self.models.mkdir()
        (self.models / "tiny.yaml").write_text(PAUSED)
        self.installation = Installation(folder / "h")
        self.ports = {name: free_port() for name in LOCAL_PORTS}
        self.env = {
            "PATH": os.environ["PATH"],
            "GENAI_HOME": str(self.installation.home),
            "GENAI_MODELS": str(self.models),
            **WEBHOOK,
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # somebody's own; it must not matter
        } | {f"GENAI_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}

    def genai(self, *args):
        command = [sys.executable, "-m", "genai_pipeline.cli", *args]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=200, check=False)

    @property
    def api(self):
        return DagsterApi(f"http://127.0.0.1:{self.ports['dagster']}")

    @property
    def pids(self):
        return {info.name: info.pid for info in Supervisor(self.installation.home).all()}


class RestartedSince(Supervisor):
    """Whose programs were all started just now."""

    def info(self, name):
        return replace(super().info(name), started_at=time.time())


@pytest.fixture(scope="module")
def laptop(tmp_path_factory):
    laptop = Laptop(tmp_path_factory.mktemp("l"))
    laptop.first = laptop.genai("up")
    yield laptop
    stop_services(laptop.installation, lambda _: None)


def test_up_ends_when_there_is_nothing_to_wait_for(laptop):
    assert laptop.first.returncode == 0, laptop.first.stdout + laptop.first.stderr
    assert "tiny: paused" in laptop.first.stdout
    assert set(laptop.pids) == EXPECTED


def test_up_again_restarts_nothing(laptop):
    before = laptop.pids

    again = laptop.genai("up")

    assert again.returncode == 0
    assert laptop.pids == before


def test_status_shows_every_service_running_and_no_problem(laptop):
    status = json.loads(laptop.genai("status", "--json").stdout)

    assert {s["name"]: s["state"] for s in status["services"]} == dict.fromkeys(EXPECTED, "running")
    assert status["problems"] == []


@pytest.mark.skipif(ALERTMANAGER not in EXPECTED, reason="needs alertmanager (apt-get install prometheus-alertmanager)")
def test_prometheus_sends_alerts_to_an_alertmanager_that_does_not_know_the_webhook(laptop):
    def said(service, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{laptop.ports[service]}{path}", timeout=30) as answer:
            return json.load(answer)

    while not (known := said(PROMETHEUS, "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]):
        time.sleep(0.2)  # pytest's time limit ends this
    config = said(ALERTMANAGER, "/api/v2/status")["config"]["original"]

    assert [each["url"] for each in known] == [f"http://127.0.0.1:{laptop.ports[ALERTMANAGER]}/api/v2/alerts"]
    assert "/alerts" in config
    assert "veryprivate" not in config


@pytest.mark.skipif(PROMETHEUS not in EXPECTED, reason="needs prometheus (Debian: apt-get install prometheus)")
def test_prometheus_scrapes_the_exporter_of_releases_and_has_the_rules_of_the_model(laptop):
    url = Profile.load({"GENAI_HOME": str(laptop.installation.home)}).prometheus_url
    prometheus, found = Prometheus(url), []
    while not found:  # pytest's time limit ends this
        found = prometheus.query('up{job="genai/genai-exporter"} == 1 and on () genai:gate{model="tiny"}')
        time.sleep(0.2)
    assert prometheus.query("genai_exporter_last_read_timestamp_seconds > 0")


def test_doctor_finds_the_model_on_the_embedded_hub(laptop):
    result = laptop.genai("doctor")

    assert result.returncode == 0, result.stdout
    assert "genai-demo/weather-agent@main is at" in result.stdout


def test_dagster_has_loaded_the_graph_and_its_sensor_says_why_it_starts_nothing(laptop):
    assert laptop.api.location_error() is None
    assert laptop.api.latest_run("tiny") is None
    said = ""
    while not said:  # pytest's time limit ends this
        said = laptop.api.sensor_note("new_versions")
    assert "tiny: rollout.paused is true" in said


def test_a_run_that_lost_its_process_is_ended_so_that_another_can_start(laptop):
    import dagster as dg

    run_id = str(uuid.uuid4())
    lost = dg.DagsterRun(
        "rollout_tiny", run_id=run_id, status=dg.DagsterRunStatus.STARTED, tags={"genai/model": "tiny"}
    )
    with dg.DagsterInstance.from_config(str(laptop.installation.dagster_home)) as instance:
        instance.add_run(lost)
    end_lost_runs(laptop.api, Supervisor(laptop.installation.home), lambda _: None)
    (kept,) = laptop.api.unfinished_runs()
    assert kept.id == run_id, "it is younger than the code server, which may still have it"
    said = []

    end_lost_runs(laptop.api, RestartedSince(laptop.installation.home), said.append)

    assert "lost its process" in said[0]
    assert laptop.api.unfinished_runs() == []


def test_a_changed_model_file_is_read_by_a_running_dagster(laptop):
    (laptop.models / "second.yaml").write_text(PAUSED.replace("tiny", "second"))

    result = laptop.genai("up")

    assert "reading the model files again" in result.stdout
    assert "second: paused" in result.stdout
    assert laptop.api.location_error() is None


def test_secrets_stand_only_in_files_of_the_owner(laptop):
    secrets = laptop.installation.credentials[1].encode()
    files = [f for f in laptop.installation.home.rglob("*") if f.is_file() and f.stat().st_size < 5_000_000]

    readable = [f for f in files if f.stat().st_mode & 0o077 and secrets in f.read_bytes()]

    assert len(files) > 10
    assert readable == []


def test_tools_run_by_hand_reach_the_same_s3(laptop):
    script = 'eval "$(' + f'{sys.executable} -m genai_pipeline.cli env)" && echo "$AWS_ENDPOINT_URL $DAGSTER_HOME"'

    printed = subprocess.run(["bash", "-c", script], env=laptop.env, capture_output=True, text=True, check=True).stdout

    assert printed.split() == [f"http://127.0.0.1:{laptop.ports['s3']}", str(laptop.installation.dagster_home)]
    profile = Profile.load({"GENAI_HOME": str(laptop.installation.home)})
    assert profile.s3_endpoint == f"http://127.0.0.1:{laptop.ports['s3']}"


def test_down_stops_every_service_within_15_seconds(laptop):
    inner = json.loads((laptop.installation.home / "s3" / "ports.json").read_text()).values()
    started = time.monotonic()

    result = laptop.genai("down")

    assert result.returncode == 0, result.stdout + result.stderr
    assert time.monotonic() - started < 15
    assert processes_of(laptop.installation) == []
    assert all(is_free(port) for port in [*laptop.ports.values(), *inner])
