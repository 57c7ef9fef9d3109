"""A real Prometheus with everything that the dashboards show, from exporters with the real names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

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
