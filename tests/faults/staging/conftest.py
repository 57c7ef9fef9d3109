from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
from genai_pipeline.local.hub.hub_server import HubServer
from genai_pipeline.staging.stager import Stager
from tests.fakes.exchange import no_fault
from tests.fakes.model_repository import model_files, write_repository
from tests.faults.staging.world import MODEL, PART, REPOSITORY, TOKEN, World
from tests.integration.conftest import S3Server, s3_server, start_s3, store

__all__ = ["s3_server", "start_s3", "store"]

STREAMED, COPIED = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture(scope="session")
def revisions() -> dict[str, dict[str, bytes]]:
    """Two revisions that share a shard, and one that is small; all have shards of several parts."""
    old = model_files({STREAMED: PART + 8, COPIED: PART + 80}, seed=1)
    new = model_files({STREAMED: 2 * PART + 800, COPIED: PART + 80}, seed=2)
    return {"v1": old, "v2": new | {COPIED: old[COPIED]}, "small": model_files({STREAMED: PART + 8}, seed=3)}


@pytest.fixture(scope="session")
def hub_server(tmp_path_factory: pytest.TempPathFactory, revisions: dict[str, dict[str, bytes]]) -> Iterator[HubServer]:
    home = tmp_path_factory.mktemp("hub")
    write_repository(home / "hub", REPOSITORY, revisions, gated=True)
    with serving(home) as server:
        yield server


@contextmanager
def serving(home: Path) -> Iterator[HubServer]:
    """A hub over `home/hub` that wants TOKEN."""
    with HubServer(home / "hub", home / "state", tokens=frozenset({TOKEN})) as server:
        yield server


@pytest.fixture(scope="module")
def module_world(s3_server: S3Server, hub_server: HubServer, revisions: dict[str, dict[str, bytes]]) -> Iterator[World]:
    """Its bucket holds the older revision, staged, so that a shard of the newer one is copied."""
    hub = HuggingFaceHub(hub_server.url, TOKEN)
    bucket = f"faults-{uuid.uuid4().hex[:12]}"
    with World(hub_server, s3_server, bucket, hub.resolve(REPOSITORY, "v2"), revisions["v2"]) as world:
        older = hub.snapshot(REPOSITORY, hub.resolve(REPOSITORY, "v1"))
        Stager(hub, s3_server.store(bucket), part_size=PART).stage(MODEL, older)
        world.kept, world.copied = frozenset(world.stored()), world.prefix + COPIED
        yield world


@pytest.fixture(scope="module")
def small_module_world(
    s3_server: S3Server, hub_server: HubServer, revisions: dict[str, dict[str, bytes]]
) -> Iterator[World]:
    hub = HuggingFaceHub(hub_server.url, TOKEN)
    bucket = f"faults-{uuid.uuid4().hex[:12]}"
    s3_server.store(bucket).ensure_bucket()
    with World(hub_server, s3_server, bucket, hub.resolve(REPOSITORY, "small"), revisions["small"]) as world:
        yield world


@pytest.fixture
def small_world(small_module_world: World) -> Iterator[World]:
    """One shard of two parts, nothing to copy."""
    small_module_world.reset()
    yield small_module_world
    small_module_world.hub.fault = small_module_world.s3.fault = no_fault


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    module_world.reset()
    yield module_world
    module_world.hub.fault = module_world.s3.fault = no_fault
