"""Which engines share an archive, and the ConfigMap that names it."""

import json
from dataclasses import replace

import pytest

from genai_pipeline.core.facts import CompileCache
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.cache_pin import cache_place, render_cache_pin
from genai_pipeline.k8s.engine_cache import cache_name
from genai_pipeline.k8s.render import render_live
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import EKS

TEXT = "name: tiny\nsource: {hub: a/b}\nserving: {gpu: {}, args: {max-model-len: 4096}}\n"
SPEC = model_with_tools(TEXT, "f")
RELEASE = Release.of(SPEC, "a" * 40)
PIN = CompileCache(key="c" * 64, sha256="d" * 64, size=9, made_with={"vllm": "0.33.0", "python": "3.12.3"})


def key(serving=None, release=RELEASE, profile=EKS):
    return cache_place(serving or SPEC.serving, release, profile).key


def changed(**fields):
    return SPEC.serving.model_copy(update=fields)


@pytest.mark.parametrize(
    "serving",
    [
        changed(image="vllm/vllm-openai:v0.32.0"),
        changed(args={"max-model-len": 8192}),
        changed(env={"VLLM_X": "1"}),
        changed(weights="mount"),
        changed(gpu=None),
        changed(gpu=SPEC.serving.gpu.model_copy(update={"count": 2})),
    ],
    ids=["image", "args", "env", "weights", "no gpu", "gpus"],
)
def test_another_engine_has_another_key(serving):
    assert key(serving) != key()


@pytest.mark.parametrize(
    "serving",
    [
        changed(served_names=("other",)),
        changed(replicas=SPEC.serving.replicas.model_copy(update={"min": 2, "max": 2})),
        changed(startup_deadline_s=1200),
        changed(resources=SPEC.serving.resources.model_copy(update={"memory_gib": 64.0})),
        changed(env={"HF_X": {"secretKeyRef": {"name": "n", "key": "k"}}}),
    ],
    ids=["names", "replicas", "deadline", "memory", "secret"],
)
def test_what_compiles_nothing_else_keeps_the_key(serving):
    assert key(serving) == key()


@pytest.mark.parametrize(
    "profile",
    [
        replace(EKS, bucket="other"),
        replace(EKS, region="eu-west-1"),
        replace(EKS, s3_endpoint="http://s3:8333"),
        replace(EKS, namespace="other"),
    ],
    ids=["bucket", "region", "endpoint", "namespace"],
)
def test_another_installation_has_the_same_key_because_path_host_and_store_are_not_in_it(profile):
    assert key(profile=profile) == key()


def test_another_model_name_has_the_same_key_in_another_folder():
    other = model_with_tools(TEXT.replace("tiny", "other"), "f")
    release = Release.of(other, "a" * 40)
    assert key(other.serving, release) == key()
    assert cache_place(other.serving, release, EKS).prefix != cache_place(SPEC.serving, RELEASE, EKS).prefix


def test_the_config_map_names_the_archive_of_the_record():
    (pin,) = render_cache_pin(RELEASE, EKS, PIN)

    assert (pin["kind"], pin["metadata"]["name"]) == ("ConfigMap", cache_name(RELEASE))
    assert pin["data"]["url"] == f"s3://genai/models/tiny/caches/{'a' * 40}/{PIN.key}/{PIN.sha256}.tar"
    assert pin["data"]["sha256"] == PIN.sha256
    assert json.loads(pin["data"]["made-with"]) == PIN.made_with
    assert render_cache_pin(RELEASE, EKS, CompileCache(reason="none")) == []


def test_another_archive_is_no_drift_and_no_redeploy():
    assert cache_name(RELEASE) not in {o["metadata"]["name"] for o in render_live(SPEC, RELEASE, EKS)}
