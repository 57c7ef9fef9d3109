"""`serving.standby: sleep`: refused where no engine can sleep, and no new release where it is not set."""

import pytest

from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.release import Release

ARGS = "args: {enable-auto-tool-choice: true, tool-call-parser: hermes}"


def model(serving, head="name: big\nsource: {hub: a/b}\n"):
    return parse_model(f"{head}serving: {{{ARGS}, {serving}}}\n", "f")


def refusal(serving, **given):
    with pytest.raises(ModelFileError) as caught:
        model(serving, **given)
    (problem,) = caught.value.problems
    return problem


def test_a_model_file_without_it_keeps_its_releases():
    assert model("gpu: {}").config_hash == model("gpu: {}, standby: warm").config_hash
    assert model("gpu: {}").config_hash != model("gpu: {}, standby: sleep").config_hash


def test_its_release_may_sleep_and_others_may_not():
    assert Release.of(model("gpu: {}, standby: sleep"), "a" * 40).sleeps
    assert Release.of(model("gpu: {resource: nvidia.com/gpu.shared}, standby: sleep"), "a" * 40).sleeps
    assert not Release.of(model("gpu: {}"), "a" * 40).sleeps


@pytest.mark.parametrize(
    ("serving", "says"),
    [
        ("standby: sleep", "Set `serving.gpu`"),
        ("standby: sleep, gpu: {resource: amd.com/gpu}", "an NVIDIA GPU"),
        ("standby: sleep, gpu: {}, engine: ray", "Use `engine: vllm`"),
        ("standby: sleep, gpu: {}, replicas: {max: 2}", "Set `replicas.max: 1`"),
    ],
)
def test_where_no_engine_can_sleep_it_is_refused_with_the_remedy(serving, says):
    problem = refusal(serving)

    assert "serving.standby" in problem
    assert says in problem


def test_a_model_that_generates_no_text_cannot_prove_that_it_woke_as_it_was():
    with pytest.raises(ModelFileError, match="a known text is compared"):
        parse_model("name: e\nsource: {hub: a/b}\ntask: embed\nserving: {standby: sleep, gpu: {}}\n", "f")


@pytest.mark.parametrize("standby", ["warm", "sleep"])
def test_the_switches_of_sleep_belong_to_the_pipeline(standby):
    both = f"gpu: {{}}, standby: {standby}, env: {{VLLM_SERVER_DEV_MODE: '1'}}"

    assert "`serving.standby: sleep`" in refusal(both)


def test_the_argument_of_vllm_is_set_by_the_pipeline():
    with pytest.raises(ModelFileError, match="belongs to the pipeline"):
        parse_model("name: b\nsource: {hub: a/b}\nserving: {gpu: {}, args: {enable-sleep-mode: true}}\n", "f")
