"""What a chat template shows about the parsers that an engine needs."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from genai_pipeline.core.call_format import CALL_TAGS, THOUGHT_TAGS, parser_hints

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
        ("tool_parsers", "_TOOL_PARSERS_TO_REGISTER", {name for _, names in CALL_TAGS for name in names}),
        ("reasoning", "_REASONING_PARSERS_TO_REGISTER", {name for _, name in THOUGHT_TAGS}),
    ],
)
def test_every_parser_that_is_named_is_registered_in_vllm(package, table, names):
    vllm = find_spec("vllm")
    if vllm is None or vllm.origin is None:
        pytest.skip("vLLM is not installed")
    tree = ast.parse((Path(vllm.origin).parent / package / "__init__.py").read_text())
    (value,) = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == table]

    assert names <= set(ast.literal_eval(value))
