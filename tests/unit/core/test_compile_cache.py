"""The key of an archive, and its manifest."""

import json

import pytest

from genai_pipeline.core.compile_cache import CacheManifest, CachePlace, cache_key, compiling_env
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.core.model_spec import Gpu

REVISION = "a" * 40
GPU = Gpu.model_validate({"instance-family": "p5", "count": 2, "selector": {"gpu": "h200"}})
BEFORE = {
    "image": "vllm/vllm-openai:v0.33.0",
    "args": ("--load-format=runai_streamer", "--max-model-len=8192"),
    "env": {"VLLM_USE_V2": "1", "AWS_REGION": "eu-west-1"},
    "revision": REVISION,
    "weights": "stream",
    "gpu": GPU,
    "isa": "",
}
MANIFEST = CacheManifest(
    "tiny",
    REVISION,
    "c" * 64,
    "aaaaaaaaaaaa-fbe725",
    sha256="d" * 64,
    size=24_000_000,
    files=88,
    made_with={"vllm": "0.33.0"},
    image_id="vllm/vllm-openai@sha256:0",
    gpu="NVIDIA-H200",
    args=("--max-model-len=8192",),
    env_names=("HOME",),
    written_at="2026-01-01T00:00:00.000Z",
    tool="genai-pipeline 1.0",
)


@pytest.mark.parametrize(
    "change",
    [
        {"image": "vllm/vllm-openai:v0.34.0"},
        {"args": ("--load-format=runai_streamer",)},
        {"args": tuple(reversed(BEFORE["args"]))},
        {"env": {"VLLM_USE_V2": "0"}},
        {"env": {}},
        {"revision": "b" * 40},
        {"weights": "mount"},
        {"gpu": GPU.model_copy(update={"count": 1})},
        {"gpu": GPU.model_copy(update={"resource": "nvidia.com/mig-1g.10gb"})},
        {"gpu": GPU.model_copy(update={"instance_family": "g6e"})},
        {"gpu": GPU.model_copy(update={"selector": {"gpu": "l4"}})},
        {"gpu": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_an_engine_compiles_by_makes_another_key(change):
    assert cache_key(**BEFORE | change) != cache_key(**BEFORE)


def test_without_a_gpu_the_processor_makes_another_key_and_with_one_it_does_not():
    on_cpu = BEFORE | {"gpu": None}
    assert cache_key(**on_cpu | {"isa": "0123456789ab"}) != cache_key(**on_cpu)
    assert cache_key(**BEFORE | {"isa": "0123456789ab"}) == cache_key(**BEFORE)


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_ENDPOINT_URL": "http://s3"},
        {"AWS_REGION": "us-east-1"},
        {"RUNAI_STREAMER_MEMORY_LIMIT": "4"},
        {"GENAI_CACHE_URL": "s3://b/k"},
        {"PYTHONPATH": "/elsewhere"},
        {"MY_TOKEN": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_where_bytes_come_from_and_secrets_make_no_other_key(more):
    assert cache_key(**BEFORE | {"env": BEFORE["env"] | more}) == cache_key(**BEFORE)
    assert not set(more) & set(compiling_env(more))


def test_a_key_is_the_same_in_every_process_and_whatever_the_order_of_variables():
    env = {"B": "2", "A": "1"}
    key = cache_key(**BEFORE | {"env": env})
    assert key == cache_key(**BEFORE | {"env": dict(reversed(env.items()))})
    assert cache_key(**BEFORE) == "6b49d369b3784cf5d1a745e2502c8b1f1bba20338a127c93969b8e3af60a6a89"


def test_caches_lie_beside_revisions_and_never_within_one():
    place = CachePlace("tiny", REVISION, "c" * 64)
    assert place.manifest_key == f"models/tiny/caches/{REVISION}/{'c' * 64}/manifest.json"
    assert MANIFEST.archive_key == f"models/tiny/caches/{REVISION}/{'c' * 64}/{'d' * 64}.tar"
    assert not place.manifest_key.startswith(staged_prefix("tiny", REVISION))
    assert place.manifest_key != manifest_key("tiny", REVISION)


def test_a_manifest_that_was_written_is_read_back():
    assert CacheManifest.from_bytes(MANIFEST.to_bytes()) == MANIFEST


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": "1"},
        {"sha256": "../../other"},
        {"made_with": {"vllm": 1}},
        {"made_with": None},
        {"args": None},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_no_manifest_is_refused(change):
    with pytest.raises((ValueError, KeyError, TypeError)):
        CacheManifest.from_bytes(json.dumps(json.loads(MANIFEST.to_bytes()) | change).encode())


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"{"])
def test_other_bytes_are_no_manifest(body):
    with pytest.raises((ValueError, KeyError, TypeError)):
        CacheManifest.from_bytes(body)
