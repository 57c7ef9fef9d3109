"""Texts of a certain form: a refusal says the form in words, with an example that would be taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.core import text_form
from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_file import parse_model, read_models
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.text_form import TextForm
from tests.fakes.model_texts import with_tools

FORMS = {name: form for name, form in vars(text_form).items() if isinstance(form, TextForm)}


@pytest.mark.parametrize(
    ("name", "example"),
    [("Qwen2.5-7B", "qwen2-5-7b"), ("llama_3", "llama-3"), ("my--model-", "my-model"), ("ü", "qwen2-5-7b")],
)
def test_a_name_is_refused_in_words_with_one_that_would_do(name, example):
    with pytest.raises(ModelFileError) as caught:
        parse_model(f"name: {name}\nsource: {{hub: a/b}}\n", "f")

    assert caught.value.problems == [
        f"f:1: name: must be lower-case letters, digits and dashes, at most 30: {example}; got {name!r}."
    ]


@pytest.mark.parametrize(
    ("hub", "example"),
    [
        ("https://huggingface.co/mistralai/Ministral-3-8B/tree/main", "mistralai/Ministral-3-8B"),
        ("hf://mistralai/Ministral-3-8B", "mistralai/Ministral-3-8B"),
        ("huggingface.co/mistralai/Ministral-3-8B", "mistralai/Ministral-3-8B"),
        ("gpt2", "owner/gpt2"),
        ("a/b c", "a/b-c"),
    ],
)
def test_a_repository_is_refused_in_words_with_the_name_that_was_meant(hub, example):
    with pytest.raises(ModelFileError) as caught:
        parse_model(f"name: tiny\nsource: {{hub: '{hub}'}}\n", "f")

    assert caught.value.problems == [f"f:2: source.hub: must be owner/name, as {example}; got {hub!r}."]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(text=st.text(max_size=80))
def test_every_example_has_the_form_that_it_explains(form, text):
    example = form.example(text)

    assert form.check(example) == example


def test_the_json_schema_still_has_the_patterns():
    schema = ModelSpec.model_json_schema()

    assert schema["properties"]["name"]["pattern"] == f"^{text_form.MODEL_NAME.pattern}$"


def test_files_that_end_in_yml_are_read_as_well(tmp_path):
    (tmp_path / "a.yaml").write_text(with_tools("name: a\nsource: {hub: o/a}\n"))
    (tmp_path / "b.yml").write_text(with_tools("name: b\nsource: {hub: o/b}\n"))
    (tmp_path / "c.yml").write_text("name: C\n")

    files = read_models(tmp_path)

    assert [spec.name for spec in files.specs] == ["a", "b"]
    assert [error.path.rsplit("/", 1)[1] for error in files.errors] == ["c.yml"]
