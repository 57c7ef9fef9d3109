"""The demo model with real vLLM: live without Ray, then on a real KubeRay and a real Ray, then back, under traffic.

The pipeline runs with the account and the Role that we ship, and asks every check of each release.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from genai_pipeline.core.record import Phase
from genai_pipeline.loadtest.probe import ContinuousProbe, ProbeResult
from tests.cluster.life.rollouts import Ended, wait_until_ended
from tests.cluster.life.surroundings import Installation, change_model, installed, start_dagster
from tests.cluster.life.weather import MODEL, model_file, not_passed, revision
from tests.cluster.machine.cluster import until

DRAINED_S = 180
"""A release is live before the drain of the one before it: kept connections last for 20 s, then Ray's drain follows."""

pytestmark = [pytest.mark.needs("pods", "kuberay"), pytest.mark.timeout(3600), pytest.mark.nightly]


def with_engine(engine: str) -> dict[str, Any]:
    """A worker on Ray needs a GiB more, and an engine needs the processor while it loads."""
    model = model_file()
    model["serving"] |= {"engine": engine, "resources": {"cpu": 0.5, "memory_gib": 5}, "startup_deadline_s": 900}
    return model


@pytest.fixture(scope="module")
def installation(real, tmp_path_factory) -> Iterator[Installation]:
    with installed(real, tmp_path_factory, "life", with_engine("vllm")) as installation:
        yield installation


@pytest.fixture(scope="module")
def first(installation) -> Ended:
    installation.publish("v1")
    start_dagster(installation)
    return wait_until_ended(installation, MODEL, revision("v1"), "vllm")


@dataclass(frozen=True)
class Switch:
    """The way to another engine as users saw it."""

    ended: Ended
    seen: ProbeResult


def switch(installation: Installation, engine: str) -> Switch:
    with ContinuousProbe(
        installation.engines.traffic().url(MODEL), MODEL, rate_per_s=1, request_deadline_s=180, max_s=3000
    ) as probe:
        change_model(installation, with_engine(engine))
        ended = wait_until_ended(installation, MODEL, revision("v1"), engine)
        probe.see(20, 120)
    return Switch(ended, probe.result())


@pytest.fixture(scope="module")
def on_ray(installation, first) -> Switch:
    assert first.record.phase is Phase.LIVE, first.why
    return switch(installation, "ray")


@pytest.fixture(scope="module")
def back(installation, on_ray) -> Switch:
    assert on_ray.ended.record.phase is Phase.LIVE, on_ray.ended.why
    return switch(installation, "vllm")


def test_the_model_goes_live_on_ray_with_every_check_passed(on_ray):
    assert on_ray.ended.record.phase is Phase.LIVE, on_ray.ended.why
    assert not_passed(on_ray.ended.record) == {}
    assert set(on_ray.ended.record.required) <= set(on_ray.ended.record.verdicts)


def test_vllm_on_ray_read_its_weights_from_s3(on_ray):
    verdict = on_ray.ended.record.verdicts["candidate.weights_from_staged_prefix"]

    assert verdict.passed
    assert f"s3://genai/models/{MODEL}/{revision('v1')}/" in json.dumps(verdict.evidence)


def test_no_request_fails_on_the_way_to_ray_and_back(on_ray, back, record_property):
    record_property("requests", on_ray.seen.total_sent + back.seen.total_sent)

    assert on_ray.seen.causes == {}
    assert back.ended.record.phase is Phase.LIVE, back.ended.why
    assert back.seen.causes == {}
    assert min(*on_ray.seen.sent.values(), *back.seen.sent.values()) > 20


def test_nothing_of_ray_is_left(installation, back):
    cluster = installation.engines.gateways.cluster

    until(lambda: not cluster.list("RayService"), "the end of the release on Ray, after its drain", DRAINED_S)
