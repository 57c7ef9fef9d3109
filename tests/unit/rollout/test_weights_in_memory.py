"""The weights' bytes against the memory of GPUs and pods."""

import pytest
import yaml

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.rollout.capacity.weights_in_memory import (
    GPU_GB,
    memory_of_family,
    memory_of_nodes,
    weights_fit,
)
from genai_pipeline.rollout.pools.instance_types import packaged

KNOWN = packaged("us-east-1")
GB = 10**9


def serving_of(fields, args=""):
    tools = "enable-auto-tool-choice: true, tool-call-parser: mistral"
    text = f"name: m\nsource: {{hub: a/b}}\nserving: {{{fields}, args: {{{tools}, {args}}}}}\n"
    return parse_model(text, "f").serving


def judged(weights_gb, gpu="{}", args="", dtype="bfloat16"):
    serving = serving_of(f"gpu: {gpu}", args)
    return weights_fit(serving, weights_gb * GB, dtype, memory_of_family(serving.gpu, KNOWN))


@pytest.mark.parametrize(
    ("weights_gb", "gpu", "args", "dtype", "outcome"),
    [
        (16, "{}", "", "bfloat16", Outcome.PASSED),
        (60, "{}", "", "bfloat16", Outcome.FAILED),
        (60, "{}", "", "float32", Outcome.PASSED),
        (60, "{}", "dtype: float32", "float32", Outcome.FAILED),
        (60, "{count: 4}", "", "", Outcome.PASSED),
        (40, "{}", "gpu-memory-utilization: 0.8", "", Outcome.FAILED),
        (60, "{}", "quantization: fp8", "", Outcome.INCONCLUSIVE),
        (16, "{}", "quantization: fp8", "", Outcome.PASSED),
        (1, "{instance-family: zz9}", "", "", Outcome.INCONCLUSIVE),
    ],
)
def test_weights_are_compared_with_all_gpus_of_a_replica(weights_gb, gpu, args, dtype, outcome):
    assert judged(weights_gb, gpu, args, dtype).outcome is outcome


def test_the_lines_to_set_name_a_number_of_gpus_that_there_is():
    verdict = judged(60)

    said = yaml.safe_load(verdict.summary.partition("\n")[2])
    assert said == {"serving": {"gpu": {"count": 4}}}
    assert judged(60, "{count: 4}").passed
    assert "serving" not in judged(4000).summary


def test_without_a_gpu_the_pods_memory_counts():
    serving = serving_of("resources: {memory_gib: 4}")

    assert weights_fit(serving, 4 * 2**30, "", None).passed
    verdict = weights_fit(serving, 6 * 2**30, "", None)
    assert yaml.safe_load(verdict.summary.partition("\n")[2]) == {"serving": {"resources": {"memory_gib": 7}}}


def test_the_memory_of_nodes_is_the_smallest_that_their_labels_name():
    nodes = [
        {"metadata": {"labels": {"nvidia.com/gpu.memory": text, "nvidia.com/mig-1g.10gb.memory": "9728", "zone": zone}}}
        for text, zone in (("81559", "a"), ("15360", "b"))
    ]

    assert round(memory_of_nodes(nodes, Gpu()).gb) == 16
    assert round(memory_of_nodes(nodes, Gpu(selector={"zone": "a"})).gb) == 86
    assert round(memory_of_nodes(nodes, Gpu(resource="nvidia.com/mig-1g.10gb")).gb) == 10
    assert memory_of_nodes(nodes, Gpu(resource="amd.com/gpu")) is None
    assert memory_of_nodes([{"metadata": {}}], Gpu()) is None


def test_every_family_with_gpus_has_a_known_memory():
    assert {t.family for t in KNOWN.types if t.gpus} == GPU_GB.keys()


@pytest.mark.parametrize(
    ("fields", "enough"),
    [
        ("gpu: {}, resources: {memory_gib: 24}", None),
        ("gpu: {}, resources: {memory_gib: 22}", 23),
        ("resources: {memory_gib: 32}", None),
        ("resources: {memory_gib: 31}", 32),
    ],
)
def test_prefetched_weights_need_memory_beside_the_engine(fields, enough):
    serving = serving_of(f"weights: prefetch, {fields}")
    verdict = weights_fit(serving, 16 * 2**30, "bfloat16", memory_of_family(serving.gpu or Gpu(), KNOWN))

    said = yaml.safe_load(verdict.summary.partition("\n")[2])
    assert said == ({"serving": {"resources": {"memory_gib": enough}}} if enough else None)
    assert verdict.passed is (enough is None)
    assert weights_fit(serving_of(fields), 16 * 2**30, "bfloat16", memory_of_family(Gpu(), KNOWN)).passed


@pytest.mark.parametrize(("memory_gib", "outcome"), [(24, Outcome.PASSED), (12, Outcome.FAILED)])
def test_the_weights_of_a_standby_fit_into_its_pods_memory_while_it_sleeps(memory_gib, outcome):
    serving = serving_of(f"gpu: {{}}, standby: sleep, resources: {{memory_gib: {memory_gib}}}")

    verdict = weights_fit(serving, 16 * GB, "bfloat16", memory_of_family(serving.gpu, KNOWN))

    assert verdict.outcome is outcome
    if outcome is Outcome.FAILED:
        lines = yaml.safe_load(verdict.summary.partition("\n")[2])
        assert lines == {"serving": {"resources": {"memory_gib": 22}}}
