"""The Prometheus of one machine: the program with the configuration and the rules that `genai up` gives it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.core.profile import LOCAL_PORTS, Profile
from genai_pipeline.core.release import Release
from genai_pipeline.core.replicas_spec import Replicas
from genai_pipeline.gateways.metrics.abc import EngineMetrics, Metrics
from genai_pipeline.gateways.metrics.laptop_metrics import MetricsOfOneMachine
from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics
from genai_pipeline.k8s.engine_autoscaler import scaling_values
from genai_pipeline.k8s.render import render_engine, render_monitoring
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.ports import free_port
from genai_pipeline.local.prometheus_server import PROMETHEUS, find_prometheus, prometheus_command, prometheus_files
from genai_pipeline.local.service_catalog import services
from genai_pipeline.observability.exporter_site import json_page, serving
from genai_pipeline.observability.scrape_targets import targets_of
from tests.fakes import simulated_exporters as simulated
from tests.fakes.model_texts import model_with_tools
from tests.fakes.prometheus import Prometheus, needs_prometheus, until_ready

PROFILE = Profile.of({"name": "local"})
SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "tiny.yaml")
RELEASE = Release.of(SPEC, "1" * 40)
SERVICE = RELEASE.object_name
DEADLINE_S = 120


def pod_at(address: str) -> dict[str, Any]:
    """Return a pod of the engine whose port answers at an address."""
    (template,) = [o["spec"]["template"] for o in render_engine(SPEC, RELEASE, PROFILE) if o["kind"] == "Deployment"]
    host, _, port = address.partition(":")
    container = {"name": "engine", "ports": [{"name": "http", "containerPort": int(port)}]}
    meta = {"name": f"{SERVICE}-xyz", "namespace": "genai", "labels": template["metadata"]["labels"]}
    return {"metadata": meta, "spec": {"containers": [container]}, "status": {"phase": "Running", "podIP": host}}


def busy(text: str) -> str:
    """Return an engine's metrics with requests: 3 that run, and 2 that wait."""
    for name, value in (("running", 3.0), ("waiting", 2.0)):
        text, found = re.subn(rf"^(vllm:num_requests_{name}{{.*}}) .*$", rf"\g<1> {value}", text, flags=re.M)
        assert found == 1
    return text


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It scrapes an engine that it finds through the exporter's `/targets`."""
    home, port, ports = tmp_path_factory.mktemp("h"), free_port(), {"exporter": free_port()}
    found = find_prometheus(os.environ)
    assert found.program
    for path, text in prometheus_files(home, ports, [SPEC], PROFILE).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    with ExitStack() as stack:
        engine = stack.enter_context(simulated.Exporter(busy(simulated.vllm())))
        found_pods = [pod_at(engine.target)]
        pages = {"/targets": json_page(lambda: targets_of(render_monitoring(PROFILE), found_pods))}
        stack.enter_context(serving("127.0.0.1", ports["exporter"], pages))
        log = stack.enter_context((home / "log").open("wb"))
        process = subprocess.Popen(prometheus_command(found.program, home, port), stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)
        until_ready(f"http://127.0.0.1:{port}", process, home / "log")
        yield Prometheus(f"http://127.0.0.1:{port}")


class Silent(Metrics):
    """An engine that may not be asked itself."""

    def read(self, base_url: str) -> EngineMetrics:
        raise EngineUnavailable("asked itself", "")


@needs_prometheus
def test_the_metrics_of_an_engine_are_read_there(prometheus: Prometheus):
    reader = PrometheusMetrics(prometheus.url, labels_of=lambda _: {"namespace": "genai", "service": SERVICE})
    laptop = MetricsOfOneMachine(prometheus.url, Silent(), reader, lambda _: 2)

    fresh = laptop.read("http://engine")
    latest = laptop.latest("http://engine")

    assert fresh.requests_finished > 0
    assert latest.age_s < 30


@needs_prometheus
def test_what_keda_asks_has_one_result_for_what_is_scraped_and_none_for_anything_else(prometheus: Prometheus):
    reader = PrometheusMetrics(prometheus.url, labels_of=lambda _: {"namespace": "genai", "service": SERVICE})
    reader.read("http://engine")  # once it was scraped
    scaled = SPEC.serving.model_copy(update={"replicas": Replicas(min=1, max=3)})

    def asked(release: Release) -> list[float]:
        query = scaling_values(scaled, release, PROFILE)["query"]
        return [float(one["value"][1]) for one in prometheus.query(query)]

    assert asked(RELEASE) == [3.0 + 2.0]
    assert asked(Release.of(SPEC, "2" * 40)) == []


@needs_prometheus
def test_the_rules_of_the_installed_models_are_evaluated(prometheus: Prometheus):
    end = time.monotonic() + DEADLINE_S
    while "unknown" in (health := [rule["health"] for rule in prometheus.rules()]) and time.monotonic() < end:
        time.sleep(0.2)

    assert set(health) == {"ok"}
    assert {rule["labels"]["model"] for rule in prometheus.rules() if rule["name"] == "genai:gate"} == {"tiny"}


@needs_prometheus
def test_what_it_keeps_is_bounded(prometheus: Prometheus):
    with urllib.request.urlopen(f"{prometheus.url}/api/v1/status/flags") as response:
        flags = json.load(response)["data"]

    assert flags["storage.tsdb.retention.time"] in ("7d", "1w")
    assert flags["storage.tsdb.retention.size"] in ("512MB", "512MiB")
    assert flags["web.listen-address"].startswith("127.0.0.1:")


def program(folder: Path, says: str) -> dict[str, str]:
    """Return an environment in which a program of that name says a version."""
    (folder / "prometheus").write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / "prometheus").chmod(0o755)
    return {"PATH": str(folder)}


@pytest.mark.parametrize("says", ["prometheus, version 2.42.0+ds (branch: x)", "prometheus, version 3.5.0 (branch: x)"])
def test_a_program_that_can_be_used_is_named_with_its_version(tmp_path: Path, says: str):
    found = find_prometheus(program(tmp_path, says))

    assert found.program == str(tmp_path / "prometheus")
    assert says.split()[2] in found.says
    assert found.remedy == ""


@pytest.mark.parametrize("says", ["prometheus, version 2.15.2 (branch: x)", "command not found"])
def test_a_program_that_cannot_be_used_has_a_remedy(tmp_path: Path, says: str):
    found = find_prometheus(program(tmp_path, says))

    assert found.program is None
    assert found.remedy


@pytest.mark.parametrize(
    ("says", "starts"),
    [("prometheus, version 2.15.2 (branch: x)", False), ("prometheus, version 3.5.0 (branch: x)", True)],
)
def test_genai_up_starts_the_program_that_status_calls_used_and_no_other(tmp_path: Path, says: str, starts: bool):
    env, installation = program(tmp_path, says), Installation(tmp_path / "h")

    installation.write_addresses(LOCAL_PORTS, env)
    started = [service.name for service in services(installation, LOCAL_PORTS, env)]

    assert (PROMETHEUS in started) == starts
    assert ("prometheus_url" in installation.local_json.read_text()) == starts


def test_without_a_program_status_says_what_follows():
    found = find_prometheus({"PATH": ""})

    assert found.program is None
    assert "own /metrics" in found.says


def test_the_users_own_prometheus_is_not_joined_by_another(tmp_path: Path):
    env = program(tmp_path, "prometheus, version 3.5.0 (branch: x)") | {"GENAI_PROMETHEUS_URL": "http://mine"}

    assert find_prometheus(env).program is None
