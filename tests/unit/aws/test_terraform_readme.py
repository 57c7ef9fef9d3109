"""The tables of deploy/terraform/README.md name every variable and output, and no others."""

import re
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[3] / "deploy" / "terraform"


@pytest.mark.parametrize(("kind", "title"), [("variable", "## Variables"), ("output", "## Outputs")])
def test_the_tables_of_the_readme_are_complete(kind, title):
    declared = re.findall(rf'^{kind} "(\w+)"', (MODULE / f"{kind}s.tf").read_text(), re.M)
    section = (MODULE / "README.md").read_text().split(title)[1].split("\n## ")[0]

    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.M)) == sorted(declared)


def test_every_variable_has_a_description_and_a_type():
    blocks = re.findall(r'^variable "(\w+)" \{(.*?)^\}', (MODULE / "variables.tf").read_text(), re.M | re.S)

    assert {
        name for name, block in blocks if "description = " not in block or not re.search(r"\btype +=", block)
    } == set()
