"""A real Prometheus with everything that the dashboards show, from exporters with the real names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.observability.dashboard_files import dashboard_files
from genai_pipeline.observability.rule_groups import all_groups
from tests.fakes import simulated_exporters as simulated
from tests.fakes.prometheus import Prometheus, Target, running_prometheus
from tests.fakes.promql import expressions, names

SPEC = ModelSpec.model_validate(
    {
        "name": "weather",
        "source": {"hub": "owner/name"},
        "gates": {"serving": {"latency_p95_ms": 9000, "usd_per_million_tokens_max": 5}},
    }
)

VALUES = Path(__file__).parents[3] / "deploy" / "observability" / "kube-prometheus-stack.yaml"
IN_PROMETHEUS = {
    "capacity": "capacity",
    "maxSamplesPerSend": "max_samples_per_send",
    "maxShards": "max_shards",
    "retryOnRateLimit": "retry_on_http_429",
}
"""An option of the operator -> its name in the configuration that the operator writes."""
DEADLINE_S = 120


def until(found: Callable[[], Any]) -> Any:
    """Return what is found as soon as there is something."""
    end = time.monotonic() + DEADLINE_S
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value


def queue_of_the_chart() -> dict[str, Any]:
    """Return the options of remote write that users are given, but for the time that samples are collected."""
    (write,) = yaml.safe_load(VALUES.read_text())["prometheus"]["prometheusSpec"]["remoteWrite"]
    given = {IN_PROMETHEUS[name]: value for name, value in write["queueConfig"].items()}
    return {**given, "batch_send_deadline": "100ms"}


def pod(name: str, release: str) -> dict[str, str]:
    """Return the labels that the PodMonitors give the series of a pod."""
    return {"namespace": "genai", "pod": f"{name}-0", "service": name, "model": "weather", "release": release}


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with an engine, one on Ray, an agent, GPUs of both engines and the exporter of releases.

    The labels of one exporter of GPUs are honoured. Those of the other one are renamed, as by the chart's default.
    """
    with ExitStack() as stack:

        def served(text: str) -> str:
            return stack.enter_context(simulated.Exporter(text)).target

        exporter = {"namespace": "monitoring", "pod": "dcgm-exporter-0"}
        targets = [
            Target("engine", served(simulated.vllm()), pod("weather-a", "a")),
            Target("ray", served(simulated.vllm_on_ray(of_ray())), pod("weather-b", "b")),
            Target("agent", served(simulated.agent()), pod("weather-agent-a", "a")),
            Target("dcgm", served(simulated.dcgm("genai", "weather-a-0")), {}),
            Target("dcgm", served(simulated.dcgm("genai", "weather-b-0")), exporter),
            Target("releases", served(simulated.releases()), {"namespace": "genai", "pod": "genai-exporter-0"}),
        ]
        groups = [{**group, "interval": "1s"} for group in all_groups([SPEC], Profile.of({"name": "eks"}))]
        yield stack.enter_context(running_prometheus(tmp_path_factory.mktemp("prometheus"), targets, groups))


def of_ray() -> set[str]:
    asked = {name for file in dashboard_files() for _, expr in expressions(file) for name in names(expr)}
    return {name for name in asked if name.startswith("ray_") and not name.startswith("ray_vllm_")}
