"""The assets' own steps around a real engine: a first start that compiles, and a second one that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from genai_pipeline.assets.compile_caching import CompileCaching
from genai_pipeline.assets.release_asset import ReleaseContext
from genai_pipeline.core.facts import CompileCache
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.verdict import passed
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.resources.engines import Engines
from tests.fakes.demo_engines import DEMO
from tests.fakes.world import PROFILE, FakeAgent, FakeHub
from tests.fakes.world import World as Outside
from tests.integration.cluster.test_compile_caches import REAL, Site, site  # noqa: F401 - a fixture

pytestmark = pytest.mark.long


def caching_of(of: Site, said: list[str]) -> CompileCaching:
    profile = replace(
        PROFILE, namespace=of.world.cluster.namespace, bucket=of.store.bucket, s3_endpoint="http://127.0.0.1:9"
    )
    gateways = Gateways(
        FakeHub(), of.store, of.world.cluster, OpenAIInference, lambda url: FakeAgent(Outside(), url),
        EngineMetricsReader(), store_keys=of.keys,
    )  # fmt: skip
    engines = Engines(profile, gateways)
    record = engines.records().open(of.spec, of.release, "opened")
    none: Any = None
    context = ReleaseContext(of.spec, of.release, record, {"ttft_p95": "?"}, said.append, none, none)
    return CompileCaching(context, engines)


def facts(of: Site) -> CompileCache:
    from genai_pipeline.rollout.record.records import Records

    found = Records(of.store).require("tiny", of.release.id).facts.compile_cache
    assert found
    return found


def test_what_a_real_engine_compiled_is_kept_and_its_next_pod_starts_from_it(site: Any) -> None:  # noqa: F811
    real, said = site(REAL), list[str]()
    for file in DEMO.iterdir():
        real.store.put(staged_prefix("tiny", "a" * 40) + file.name, file.read_bytes())
    caching = caching_of(real, said)

    caching.pin()
    url = real.start()
    assert caching.started(url)["compile_cache"].startswith("miss"), said
    text = real.complete(url)
    kept = caching.keep([passed("ttft_p95", "fine")])["compile_cache_kept"]
    assert "MB in" in kept, kept
    archive = facts(real).sha256
    real.stop()
    caching.pin()
    url = real.start()

    assert caching.started(url)["compile_cache"].startswith("hit"), said
    assert (facts(real).hit, facts(real).sha256) == (True, archive)
    assert caching.keep([passed("ttft_p95", "fine")]) == {}
    assert real.complete(url) == text
