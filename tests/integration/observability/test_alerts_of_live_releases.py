"""An alert fires in a real Prometheus, is seen at the live release, and is over when its cause is over."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics
from genai_pipeline.observability.firing_alerts import judge_alerts
from genai_pipeline.observability.rule_groups import all_groups
from tests.fakes import simulated_exporters as simulated
from tests.fakes.prometheus import Target, needs_prometheus, running_prometheus
from tests.integration.observability.conftest import pod

DEADLINE_S = 120
SPEC = ModelSpec.model_validate(
    {"name": "weather", "source": {"hub": "owner/name"}, "rollout": {"breach": {"for": "1s"}}}
)


def waiting(count: int) -> str:
    """Return what an engine exports while so many requests wait."""
    return re.sub(r"^(vllm:num_requests_waiting\{.*\}) \S+$", rf"\1 {count}", simulated.vllm(), flags=re.MULTILINE)


@needs_prometheus
def test_a_long_queue_is_shown_at_the_live_release_and_so_is_its_end(tmp_path: Path):
    with ExitStack() as stack:
        engine = stack.enter_context(simulated.Exporter(waiting(0)))
        exporter = stack.enter_context(simulated.Exporter(simulated.releases()))
        targets = [
            Target("engine", engine.target, pod("weather-a", "a")),
            Target("releases", exporter.target, {"namespace": "genai", "pod": "genai-exporter-0"}),
        ]
        groups = [{**group, "interval": "1s"} for group in all_groups([SPEC], Profile.of({"name": "local"}))]
        prometheus = stack.enter_context(running_prometheus(tmp_path, targets, groups))
        metrics = PrometheusMetrics(prometheus.url)

        def until(outcome: str, release: str = "a") -> Verdict:
            end = time.monotonic() + DEADLINE_S
            while True:
                verdict = judge_alerts(metrics, "weather", release, "genai", "docs/operations.md")
                if str(verdict.outcome) == outcome or time.monotonic() > end:
                    assert str(verdict.outcome) == outcome, verdict.summary
                    return verdict

        until("passed")
        engine.text = waiting(100)
        firing = until("failed")
        assert [row["alert"] for row in firing.evidence["alerts"]] == ["GenaiQueueLong"]
        until("passed", release="b")
        engine.text = waiting(0)
        until("passed")
