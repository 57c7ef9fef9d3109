"""The demo model as the cluster's tests serve it, and what its releases have proven."""

from __future__ import annotations

from typing import Any

import yaml

from genai_pipeline.core.record import Record
from genai_pipeline.local.hub import hub_refs
from tests.cluster.life.image_cache import PROJECT
from tests.cluster.life.services import HUB_FOLDER, REPOSITORY

MODEL = "weather"


def model_file() -> dict[str, Any]:
    """The demo's, with the image that the node has and room for two engines on two cores.

    The figures of the serving report are no part of this test: gates for a machine that may be busy, and a time-out of
    resting connections that outlasts the seconds for which such a machine keeps an engine from its requests.
    """
    model = yaml.safe_load((PROJECT / "models" / "weather.yaml").read_text())
    model["serving"]["env"]["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"] = "20"
    model["serving"]["startup_deadline_s"] = 1200
    model["serving"] |= {"image": "localhost/vllm-cpu:1", "resources": {"cpu": 0.5, "memory_gib": 4}}
    model["gates"]["serving"] |= {"ttft_p95_ms": 20_000, "min_tokens_per_s": 5}
    model["gates"]["agent"]["latency_p95_s"] = 60
    del model["serving"]["args"]["middleware"]  # the demo's fault switch, which the image does not have
    model["rollout"]["watch_minutes"] = 0
    return model


def revision(tag: str) -> str:
    return hub_refs.repository(HUB_FOLDER, HUB_FOLDER / "none", REPOSITORY).revision(tag).sha


def not_passed(record: Record) -> dict[str, str]:
    named = {name: f"{v.outcome}: {v.summary}" for name, v in record.verdicts.items() if not v.passed}
    return named | dict.fromkeys(record.missing, "never given")
