"""The demo's repository behind the fake engine and without an agent: what is tried is Dagster, not the engine."""

from __future__ import annotations

from typing import Any

from tests.cluster.life.weather import model_file


def quick_model() -> dict[str, Any]:
    """A model file whose rollout takes little processor time, and whose attempts outlast the tests' kills."""
    model = model_file()
    del model["gates"]["agent"]
    engine = {"image": "test/engine:1", "args": {"fault": "token_s=0.03"}, "env": {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "2"}}
    serving = {"resources": {"cpu": 0.05, "memory_gib": 0.2}, "startup_deadline_s": 300}
    rollout = {"strategy": "auto", "max_attempts": 6, "watch_minutes": 0, "drain_deadline_s": 60}
    gates = {"at_concurrency": 2, "requests": 8, "ttft_p95_ms": 20_000, "min_tokens_per_s": 1}
    asked = {"agent": "none", "gates": {"serving": gates}, "rollout": rollout}
    return model | asked | {"serving": {"engine": "vllm"} | engine | serving}
