"""What a chat template shows about the parsers that an engine needs."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from genai_pipeline.core.call_format import CALL_TAGS, THOUGHT_TAGS, parser_hints
from genai_pipeline.core.parser_names import REASONING_PARSERS, TOOL_PARSERS

BOTH = {"enable-auto-tool-choice": True, "tool-call-parser": "mistral"}


def to_paste(text: str) -> dict:
    return yaml.safe_load(text[text.index("\nserving:") :])["serving"]["args"]


@pytest.mark.parametrize(
    ("template", "parser"),
    [
        ("…[TOOL_CALLS]…", "mistral"),
        ("<tool_call>\n{\"name\"…", "hermes"),
        ("<tool_call>\n<function=…", "qwen3_coder"),
        ("<tool_call>{name}<arg_key>…", "glm45"),
        ("<|python_tag|>", "llama3_json"),
    ],
)  # fmt: skip
def test_the_tag_of_a_template_tells_its_parser(template, parser):
    fits = BOTH | {"tool-call-parser": parser}
    (hint,) = parser_hints(template, BOTH | {"tool-call-parser": "kimi_k2"}, True)

    assert to_paste(hint) == {"tool-call-parser": parser}
    assert list(parser_hints(template, fits, True)) == []


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        ({"tool-call-parser": "hermess"}, "`hermes`"),
        ({"tool_call_parser": "qwen3-coder"}, "`qwen3_coder`"),
        ({"tool-call-parser": "mistral", "reasoning-parser": "deepseek-r1"}, "`deepseek_r1`"),
    ],
)
def test_a_parser_that_vllm_does_not_have_is_named_with_the_one_that_was_meant(args, meant):
    (hint,) = parser_hints("", args, True)

    assert meant in hint
    assert not list(parser_hints("", args | {"tool-parser-plugin": "/p.py", "reasoning-parser-plugin": "/p.py"}, True))


@pytest.mark.parametrize("more", [{"tool_call_parser": "xlam"}, {"tool-parser-plugin": "/p.py"}])
def test_a_parser_that_may_read_anything_gets_no_hint(more):
    assert list(parser_hints("<tool_call>", BOTH | more, True)) == []


def test_a_template_without_a_known_tag_gets_no_hint():
    assert list(parser_hints("{{ messages }}", BOTH, True)) == []


def test_thoughts_without_a_parser_are_named_and_with_one_they_are_not():
    (hint,) = parser_hints("[TOOL_CALLS]</think>", BOTH, True)

    assert to_paste(hint) == {"reasoning-parser": "qwen3"}
    assert list(parser_hints("[TOOL_CALLS]</think>", BOTH | {"reasoning_parser": "deepseek_r1"}, True)) == []


@pytest.mark.parametrize(
    ("args", "template", "lacks"),
    [
        ({}, "<tool_call>", {"enable-auto-tool-choice": True, "tool-call-parser": "hermes"}),
        ({}, "{{ messages }}", None),
        ({"tool_call_parser": "hermes"}, "<tool_call>", None),
    ],
)
def test_a_missing_parser_is_named_by_the_template(args, template, lacks):
    hints = list(parser_hints(template, args, True))

    assert [to_paste(hint) for hint in hints] == ([lacks] if lacks else [])
    assert list(parser_hints(template, args, False)) == []


@pytest.mark.parametrize(
    ("package", "table", "names"),
    [
        ("tool_parsers", "_TOOL_PARSERS_TO_REGISTER", TOOL_PARSERS),
        ("reasoning", "_REASONING_PARSERS_TO_REGISTER", REASONING_PARSERS),
    ],
)
def test_the_names_of_parsers_are_those_of_the_installed_vllm(package, table, names):
    vllm = find_spec("vllm")
    if vllm is None or vllm.origin is None:
        pytest.skip("vLLM is not installed")
    tree = ast.parse((Path(vllm.origin).parent / package / "__init__.py").read_text())
    (value,) = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == table]

    assert set(names) == set(ast.literal_eval(value))


def test_the_parsers_of_templates_are_among_them():
    assert {name for _, names in CALL_TAGS for name in names} <= set(TOOL_PARSERS)
    assert {name for _, name in THOUGHT_TAGS} <= set(REASONING_PARSERS)
