"""What a model file with `engine: ray` may not say."""

import pytest

from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import ModelSpec
from tests.fakes.model_texts import with_tools

LONG = "m" * 27


def read(serving: str, name: str = "m") -> ModelSpec:
    return parse_model(with_tools(f"name: {name}\nsource: {{hub: a/b}}\nserving: {serving}\n"), "f")


def refusal(serving: str, name: str = "m") -> str:
    with pytest.raises(ModelFileError) as refused:
        read(serving, name)
    (problem,) = refused.value.problems
    return problem


@pytest.mark.parametrize(
    ("former", "today"),
    [
        ("target_num_ongoing_requests_per_replica: 20", "target_ongoing_requests"),
        ("max_concurrent_queries: 100", "max_ongoing_requests"),
        ("num_replicas: 2", "`min` and `max`"),
        ("health_check_period_s: 10", "health check"),
        ("deploymentUnhealthySecondThreshold: 300", "ignores"),
        ("look_back_period_s: 30", "window"),
        ("metrics_interval_s: 10", "window"),
    ],
)
def test_a_name_of_ray_is_refused_with_what_to_write(former, today):
    problem = refusal(f"{{engine: ray, replicas: {{{former}}}}}")

    assert f"serving.replicas.{former.partition(':')[0]}" in problem
    assert today in problem


def test_a_misspelt_field_is_still_compared_with_the_known_ones():
    assert "Did you mean `upscale_delay_s`?" in refusal("{engine: ray, replicas: {upscale_delay: 3}}")


@pytest.mark.parametrize(
    "argument",
    ["distributed-executor-backend: mp", "uvicorn-log-level: debug", "h11-max-header-count: 9"],
)
def test_an_argument_that_contradicts_ray_is_refused_only_with_ray(argument):
    name = argument.partition(":")[0]

    assert f"serving.args.{name}" in refusal(f"{{engine: ray, args: {{{argument}}}}}")
    assert read(f"{{args: {{{argument}}}}}")


def test_a_name_too_long_for_kuberay_is_refused_only_with_ray():
    assert read("{engine: ray}", LONG)
    assert "at most 27" in refusal("{engine: ray}", LONG + "m")
    assert read("{engine: vllm}", LONG + "m")


def test_a_name_that_begins_with_a_digit_is_none_for_kuberay():
    assert "letter" in refusal("{engine: ray}", "7b")
    assert read("{engine: vllm}", "7b")


@pytest.mark.parametrize(
    ("engine", "sizes", "allowed"),
    [
        ("ray", "tensor-parallel-size: 8", True),
        ("ray", "tensor-parallel-size: 4, pipeline-parallel-size: 2", True),
        ("ray", "tensor-parallel-size: 4", True),
        ("ray", "tensor-parallel-size: 6", False),
        ("ray", "tensor-parallel-size: 2", False),
        ("vllm", "tensor-parallel-size: 8", False),
        ("vllm", "tensor-parallel-size: 4", True),
    ],
)
def test_a_replica_may_be_larger_than_a_node_only_with_ray_and_in_whole_workers(engine, sizes, allowed):
    serving = f"{{engine: {engine}, gpu: {{count: 4}}, args: {{{sizes}}}}}"

    if allowed:
        assert read(serving)
    else:
        assert "serving.gpu.count is 4" in refusal(serving)


def test_a_replica_over_several_workers_is_not_data_parallel():
    sizes = "tensor-parallel-size: 4, data-parallel-size: 2"

    assert "data-parallel" in refusal(f"{{engine: ray, gpu: {{count: 4}}, args: {{{sizes}}}}}")
    assert read(f"{{engine: ray, gpu: {{count: 8}}, args: {{{sizes}}}}}")


def test_the_default_image_holds_ray_where_ray_is_the_engine():
    assert read("{engine: ray}").serving.image.startswith("genai-pipeline/vllm-ray:v0.33.0")
    assert read("{engine: vllm}").serving.image.startswith("vllm/vllm-openai:")
    assert "serving.weights" in refusal("{engine: ray, weights: prefetch}")
    assert "images/vllm-ray" in refusal("{engine: ray, image: 'vllm/vllm-openai:v0.33.0'}")
    assert read("{engine: ray, image: 'registry.example/mine:v0.33.0'}")


@pytest.mark.parametrize(
    ("serving", "field"),
    [
        ("{engine: ray, replicas: {min: 1, max: 2}}", "serving.replicas.max: "),
        ("{engine: ray, gpu: {count: 1}}", "serving.gpu: "),
        ("{env: {A: {secretKeyRef: {name: a, key: b}}}}", "serving.env.A: "),
    ],
)
def test_what_one_machine_cannot_do_is_refused_there_and_nowhere_else(serving, field):
    text = with_tools(f"name: m\nsource: {{hub: a/b}}\nserving: {serving}\n")

    with pytest.raises(ModelFileError) as refused:
        parse_model(text, "f", on_one_machine=True)

    (problem,) = refused.value.problems
    assert f": {field}" in problem
    assert parse_model(text, "f")


@pytest.mark.parametrize("serving", ["{engine: ray, replicas: {min: 2, max: 2}}", "{gpu: {count: 1}}"])
def test_what_one_machine_can_do_is_taken_there(serving):
    assert parse_model(with_tools(f"name: m\nsource: {{hub: a/b}}\nserving: {serving}\n"), "f", on_one_machine=True)
