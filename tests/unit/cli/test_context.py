import argparse

import pytest
from rich.console import Console

from genai_pipeline.cli.context import Context
from genai_pipeline.core.errors import NotReady
from genai_pipeline.core.profile import Profile
from tests.fakes.model_texts import with_tools

ON_TWO_GPUS = """\
name: large
source: {hub: owner/model}
serving:
  engine: ray
  gpu: {count: 1}
  replicas: {min: 1, max: 2}
"""


@pytest.fixture
def open_context(tmp_path):
    def in_profile(name):
        return Context(
            argparse.Namespace(),
            {"GENAI_MODELS": str(tmp_path)},
            Profile.load({"GENAI_PROFILE": name, "AWS_REGION": "eu-west-1", "GENAI_BUCKET": "genai"}),
            Console(),
        )

    return in_profile


def test_wrong_model_files_are_reported_and_the_others_used(open_context, tmp_path):
    (tmp_path / "good.yaml").write_text(with_tools("name: good\nsource: {hub: owner/model}\n"))
    (tmp_path / "bad.yaml").write_text("name: bad\n")
    said = []

    specs = open_context("local").valid_models(None, said.append)

    assert [spec.name for spec in specs] == ["good"]
    assert "bad.yaml:1: source" in said[0]


def test_a_model_that_is_not_there_is_refused_with_the_known_ones(open_context, tmp_path):
    (tmp_path / "good.yaml").write_text(with_tools("name: good\nsource: {hub: owner/model}\n"))

    with pytest.raises(NotReady, match="Known models: good"):
        open_context("local").valid_models("other", lambda _: None)


def test_what_one_machine_cannot_do_is_refused_on_one_machine_only(open_context, tmp_path):
    (tmp_path / "large.yaml").write_text(with_tools(ON_TWO_GPUS))
    said = []

    assert [spec.name for spec in open_context("eks").valid_models("large", said.append)] == ["large"]
    assert said == []
    with pytest.raises(NotReady):
        open_context("local").valid_models("large", said.append)
    assert "serving.gpu: each Ray cluster of one machine" in said[0]
