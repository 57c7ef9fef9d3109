import pytest

from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_file import parse_model, read_models

GOOD = "name: tiny\nsource: {hub: owner/tiny, ref: main}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ModelFileError) as caught:
        parse_model(text, "models/tiny.yaml")
    return caught.value.problems


def test_a_minimal_file_gets_every_default():
    spec = parse_model(GOOD, "models/tiny.yaml")

    assert (spec.name, spec.source.hub, spec.serving.engine) == ("tiny", "owner/tiny", "vllm")
    assert spec.gates.serving.error_rate_max == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "serving: {engin: vllm}\n", "models/tiny.yaml:3: serving.engin: unknown field. Did you mean `engine`?"),
        (GOOD + "serving:\n  gpu:\n    counts: 2\n", "5: serving.gpu.counts: unknown field. Did you mean `count`?"),
        (GOOD + "gates:\n  agent: {task_success_min: 90}\n", "4: gates.agent.task_success_min: input should be less"),
        (GOOD + "serving:\n  replicas: {min: 3, max: 1}\n", "4: serving.replicas: min (3) is above max (1)."),
        ("source: {hub: a/b}\n", "1: name: required, and missing. Add it."),
        ("name: tiny\nsource: {hub: a/b, foldr: x}\n", "2: source.foldr: unknown field. Did you mean `folder`?"),
        (GOOD + "serving: {engine: ray}\n", "3: serving.engine: input should be 'vllm'"),
        ("name: tiny-agent\nsource: {hub: a/b}\n", "1: name: must not end in -agent"),
        ("name: tiny\nname: other\nsource: {hub: a/b}\n", "2: name: given twice. Keep one."),
        ("name: [\n", "not YAML"),
        ("- a\n", "1: a model file is a mapping"),
        ("", "1: a model file is a mapping"),
        (
            GOOD + "rollout: {strategy: yolo}\n",
            "3: rollout.strategy: input should be 'auto', 'blue_green' or 'recreate'",
        ),
    ],
)
def test_a_mistake_is_reported_by_line_field_and_remedy(text, expected):
    assert any(expected in problem for problem in problems(text)), problems(text)


def test_all_mistakes_of_a_file_are_reported_at_once():
    assert len(problems(GOOD + "serving: {engine: tgi}\nrollouts: {}\n")) == 2


def test_a_bad_file_does_not_take_the_good_ones_with_it(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text("name: 3\n")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "d.yaml").write_text(GOOD)

    files = read_models(tmp_path)

    assert [spec.name for spec in files.specs] == ["tiny"]
    assert [error.path.rsplit("/", 1)[1] for error in files.errors] == ["b.yaml", "c.yaml", "d.yaml"]
    assert "another file already defines 'tiny'" in str(files.errors[2])
