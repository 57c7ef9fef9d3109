"""The page about models that were tried: its repositories are those of the test, its parsers those of vLLM."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from genai_pipeline.core.config_hints import WITHOUT_LOADER
from tests.fakes.families import FAMILIES

PAGE = Path("docs/models-that-were-tried.md").read_text()
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if re.match(r"\| [\w-]+: ", line)
]


def registered(package: str, table: str) -> set[str]:
    """Names in a table of vLLM, without importing vLLM."""
    vllm = find_spec("vllm")
    if vllm is None or vllm.origin is None:
        pytest.skip("vLLM is not installed")
    tree = ast.parse((Path(vllm.origin).parent / package / "__init__.py").read_text())
    (value,) = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == table]
    return set(ast.literal_eval(value))


def test_every_repository_of_the_page_is_tried_and_every_one_that_is_tried_is_on_the_page():
    assert {re.findall(r"`(.+?)`", row[0])[0] for row in ROWS} == {family.like for family in FAMILIES}


def test_what_the_page_says_is_left_out_is_left_out():
    for row, family in zip(ROWS, FAMILIES_IN_ORDER, strict=True):
        said = set(re.findall(r'`([^`:]+\.safetensors)`|"(.+?)"', row[2]))
        excluded = family.source.get("exclude", [])
        assert {a or b for a, b in said} == {*family.left_out, *(excluded if isinstance(excluded, list) else [])}


FAMILIES_IN_ORDER = [next(f for f in FAMILIES if f.like == re.findall(r"`(.+?)`", row[0])[0]) for row in ROWS]


def test_vllm_has_none_of_the_quantizations_that_are_refused():
    vllm = find_spec("vllm")
    if vllm is None or vllm.origin is None:
        pytest.skip("vLLM is not installed")
    methods = (Path(vllm.origin).parent / "model_executor/layers/quantization/__init__.py").read_text()
    named = set(re.findall(r'^    "([\w-]+)",$', methods, re.MULTILINE))
    assert {"awq", "fp8"} <= named
    assert not named & set(WITHOUT_LOADER)


@pytest.mark.parametrize(
    ("column", "package", "table"),
    [(3, "tool_parsers", "_TOOL_PARSERS_TO_REGISTER"), (4, "reasoning", "_REASONING_PARSERS_TO_REGISTER")],
)
def test_every_parser_of_the_page_is_registered_in_vllm(column: int, package: str, table: str):
    named = {name for row in ROWS for name in re.findall(r"`(.+?)`", row[column])}
    assert named
    assert named <= registered(package, table)
