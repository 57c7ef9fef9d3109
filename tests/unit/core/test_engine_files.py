"""What an engine finds beside the weights: config, tokenizer, chat template."""

import pytest

from genai_pipeline.core.engine_files import engine_files

TEMPLATE = b'{"chat_template": "{{ messages }}"}'
BASE = {"config.json": b"{}", "tokenizer.json": None}


@pytest.mark.parametrize(
    ("files", "args", "where"),
    [
        ({"chat_template.jinja": None}, {}, "chat_template.jinja"),
        ({"chat_template.json": None}, {}, "chat_template.json"),
        ({"tokenizer_config.json": TEMPLATE}, {}, "tokenizer_config.json"),
        ({}, {"chat-template": "/t.jinja"}, "the argument chat-template"),
        ({}, {"chat_template": "/t.jinja"}, "the argument chat-template"),
        ({"tekken.json": None}, {"tokenizer-mode": "mistral"}, "mistral-common"),
        (
            {"config.json": b'{"architectures": ["DeepseekV32ForCausalLM"]}'},
            {},
            "vLLM's code for DeepseekV32ForCausalLM",
        ),
        ({}, {"tokenizer": "s3://b/t/"}, "the tokenizer that the argument tokenizer names"),
        ({"processor_config.json": TEMPLATE}, {}, "processor_config.json"),
        ({"config.json": b'{"model_type": "minicpmv"}'}, {}, "vLLM's own template for minicpmv"),
        ({"tokenization_mine.py": None}, {"trust-remote-code": True}, "perhaps tokenization_mine.py"),
        ({}, {"tokenizer-mode": "mine"}, "perhaps the code of tokenizer-mode mine"),
    ],
)
def test_a_chat_template_is_found_where_the_engine_looks(files, args, where):
    found = engine_files(BASE | files, args)

    assert (found.problem, found.chat_problem, found.chat_template, found.warnings) == ("", "", where, ())


@pytest.mark.parametrize(
    ("files", "args", "says"),
    [
        ({}, {}, "chat-template:"),
        ({"tokenizer_config.json": b'{"chat_template": null}'}, {}, "chat-template:"),
        ({"tokenizer_config.json": b"not json"}, {}, "chat-template:"),
        ({"tokenization_mine.py": None}, {}, "chat-template:"),
        ({"tekken.json": None}, {}, "tokenizer-mode: mistral"),
        ({}, {"tokenizer-mode": "mistral"}, "chat-template:"),
    ],
)
def test_without_a_chat_template_it_says_what_to_set(files, args, says):
    problem = engine_files(BASE | files, args).chat_problem

    assert "no chat template" in problem
    assert says in problem


@pytest.mark.parametrize(
    ("files", "args", "text"),
    [
        ({"chat_template.jinja": b"[TOOL_CALLS]"}, {}, "[TOOL_CALLS]"),
        ({"chat_template.json": b'{"chat_template": "<tool_call>"}'}, {}, "<tool_call>"),
        ({"tokenizer_config.json": TEMPLATE}, {}, "{{ messages }}"),
        ({"tokenizer_config.json": TEMPLATE, "chat_template.jinja": b"newer"}, {}, "newer"),
        ({"tokenizer_config.json": b'{"chat_template": [{"name": "tool_use", "template": "<t>"}]}'}, {}, "<t>"),
        ({"chat_template.jinja": b"unused"}, {"chat-template": "{{ given }}"}, "{{ given }}"),
        ({"chat_template.jinja": b"unused"}, {"chat-template": "/in/the/image.jinja"}, ""),
        ({"tekken.json": None}, {"tokenizer-mode": "mistral"}, "[TOOL_CALLS]"),
    ],
)
def test_the_text_of_the_template_is_the_one_that_the_engine_takes(files, args, text):
    found = engine_files(BASE | files, args).template

    assert text in found
    assert "unused" not in found
    assert bool(found) == bool(text)


def test_without_a_tokenizer_it_warns():
    found = engine_files({"config.json": b"{}", "chat_template.jinja": None}, {})
    assert "tokenizer" in found.warnings[0]


@pytest.mark.parametrize(
    ("files", "args", "remedy"),
    [
        (["model.safetensors"], {}, "Publish config.json"),
        (["params.json"], {}, "config-format: mistral"),
        (["config.json"], {"config-format": "mistral"}, "Remove `config-format: mistral`"),
    ],
)
def test_an_engine_without_a_config_is_refused(files, args, remedy):
    found = engine_files(dict.fromkeys(files), args)

    assert found.problem
    assert remedy in found.remedy


def test_mistrals_own_config_is_enough_if_the_engine_reads_it():
    args = {"config_format": "mistral", "tokenizer_mode": "mistral"}
    assert engine_files(dict.fromkeys(["params.json", "tekken.json"]), args).problem == ""
