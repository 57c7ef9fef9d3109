"""What an engine compiled goes from its pod to the store, and by the init container to the next pod of its release."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from genai_pipeline.core import engine_paths
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways, StoreKeys
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.k8s import engine_cache, pipeline_only
from genai_pipeline.k8s.restoring import made_with
from genai_pipeline.rollout.switch.candidates import Candidates
from tests.conformance.world import World
from tests.fakes.demo_engines import DEMO
from tests.fakes.world import PROFILE, FakeAgent, FakeHub
from tests.fakes.world import World as Outside
from tests.integration.conftest import S3Server

TEXT = "name: tiny\nsource: {hub: a/b}\nagent: none\nserving: {%s}\n"
FAKE = parse_model(TEXT % "image: 'test/engine:1'", "f")
REAL = parse_model(TEXT % "args: {max-model-len: 1024}, env: {VLLM_CPU_KVCACHE_SPACE: '1'}", "f")
MADE_WITH = made_with({"GENAI_CACHE_FOR": "cpu"})
WARMING = re.compile(r"INFO (\d\d-\d\d \d\d:\d\d:\d\d) \S+ Warming up (?:model for the compilation|done)")
"""What vLLM 0.32 logs around the compilation where there is no GPU."""
pytestmark = pytest.mark.long


@dataclass
class Site:
    """A release on the cluster of one machine, with a real S3."""

    world: World
    store: S3Store
    candidates: Candidates
    keys: StoreKeys
    spec: ModelSpec

    @property
    def release(self) -> Release:
        return Release.of(self.spec, "a" * 40)

    def start(self) -> str:
        return self.candidates.start_engine(self.spec, self.release, lambda _: None)

    def stop(self) -> None:
        self.candidates.stop(self.release)

    def ask(self, url: str, path: str) -> httpx.Response:
        secret = self.world.object("Secret", engine_cache.ENGINE_ACCESS)
        token = base64.b64decode(secret["data"][engine_cache.TOKEN_KEY]).decode()
        return httpx.get(url + path, headers={engine_paths.TOKEN_HEADER: token}, timeout=60, trust_env=False)

    def restored(self, url: str) -> dict[str, Any]:
        return self.ask(url, engine_paths.RESTORED_PATH).raise_for_status().json()

    def keep(self, archive: bytes, made_with: str, **changed: str) -> None:
        """Keep an archive as the pipeline does, and tell the pods of the release."""
        sha256 = hashlib.sha256(archive).hexdigest()
        key = f"models/tiny/caches/{'a' * 40}/k/{sha256}.tar"
        self.store.put(key, archive)
        data = {"url": f"s3://{self.store.bucket}/{key}", "sha256": sha256, "made-with": made_with} | changed
        meta = {"name": engine_cache.cache_name(self.release)}
        self.world.cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}])

    def complete(self, url: str) -> str:
        asked = {"model": "tiny", "prompt": "The weather", "max_tokens": 8, "temperature": 0}
        answer = httpx.post(f"{url}/v1/completions", json=asked, timeout=120, trust_env=False)
        return answer.raise_for_status().json()["choices"][0]["text"]

    def warmed_up_s(self) -> float:
        """How long the engine compiled, or loaded what was compiled."""
        begun, done = (datetime.strptime(at, "%m-%d %H:%M:%S") for at in WARMING.findall(self.logs())[-2:])
        return (done - begun).total_seconds()

    def logs(self) -> str:
        return self.world.cluster.logs({"app.kubernetes.io/name": "tiny"}, 2000)


@pytest.fixture
def site(world: World, store: S3Store, s3_server: S3Server) -> Iterator[Any]:
    made: list[Site] = []

    def site(spec: ModelSpec) -> Site:
        namespace = world.cluster.namespace
        profile = replace(PROFILE, namespace=namespace, bucket=store.bucket, s3_endpoint=s3_server.endpoint)
        keys = StoreKeys(s3_server.access_key, s3_server.secret_key)
        gateways = Gateways(
            FakeHub(), store, world.cluster, OpenAIInference, lambda url: FakeAgent(Outside(), url),
            EngineMetricsReader(), store_keys=keys,
        )  # fmt: skip
        made.append(Site(world, store, Candidates(gateways, profile), keys, spec))
        return made[-1]

    yield site
    for each in made:
        each.candidates.remove(each.release)


def libraries(archive: bytes) -> dict[str, float]:
    """Every library that was compiled, and when."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member.mtime for member in tar if member.name.endswith(".so")}


def archive_of(files: Mapping[str, bytes], folder: Path) -> bytes:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
    packed = pipeline_only.pack(folder, threading.Event())
    assert packed.file
    with packed.file as file:
        return file.read()


def test_the_next_pod_gives_what_the_archive_held(site: Any, tmp_path: Path) -> None:
    fake = site(FAKE)
    archive = archive_of({"cache/triton/AB/kernel": b"kernel"}, tmp_path)
    fake.keep(archive, json.dumps(MADE_WITH))

    url = fake.start()

    assert fake.restored(url) | {"seconds": 0} == {
        "reason": "hit", "why": "restored", "bytes": len(archive), "seconds": 0,
        "sha256": hashlib.sha256(archive).hexdigest(),
    }  # fmt: skip
    assert fake.ask(url, engine_paths.CACHE_PATH).content == archive
    assert f"genai-restoring: {len(archive)} bytes" in fake.logs()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"sha256": "0" * 64}, "sha256"),
        ({"url": "s3://genai/models/tiny/caches/absent.tar"}, "404"),
        ({"made-with": json.dumps(MADE_WITH | {"vllm": "0.31.0"})}, "vllm '0.31.0'"),
    ],
    ids=["corrupt archive", "other content", "missing object", "other versions"],
)
def test_an_engine_starts_cold_where_its_archive_is_of_no_use(
    site: Any, tmp_path: Path, changed: dict[str, str], why: str
) -> None:
    fake = site(FAKE)
    archive = archive_of({"cache/triton/AB/kernel": b"kernel" * 1000}, tmp_path)
    fake.keep(archive if changed else archive[:5000], json.dumps(MADE_WITH), **changed)

    url = fake.start()

    restored = fake.restored(url)
    assert (restored["reason"] == "hit", restored["bytes"]) == (False, 0)
    assert why in restored["why"]
    assert fake.ask(url, engine_paths.CACHE_PATH).status_code == 204
    assert fake.ask(url, "/v1/models").is_success


def test_a_real_engine_compiles_once_and_the_next_pod_of_its_release_does_not(site: Any) -> None:
    real = site(REAL)
    for file in DEMO.iterdir():
        real.store.put(staged_prefix("tiny", "a" * 40) + file.name, file.read_bytes())
    url = real.start()
    cold_s, text = real.warmed_up_s(), real.complete(url)
    archive = real.ask(url, engine_paths.CACHE_PATH).raise_for_status()
    real.keep(archive.content, archive.headers[engine_paths.MADE_WITH_HEADER])
    real.stop()

    url = real.start()

    assert real.restored(url)["reason"] == "hit"
    assert real.complete(url) == text
    # A library that was built again is newer than the archive's.
    again = real.ask(url, engine_paths.CACHE_PATH).raise_for_status()
    assert libraries(again.content) == libraries(archive.content)
    assert len(libraries(archive.content)) >= 5
    assert real.warmed_up_s() < 0.8 * cold_s
    assert real.keys.secret.encode() not in archive.content
