"""The component as `dg` uses it: it is found, its YAML is checked, it is scaffolded once."""

import json
import subprocess
import sys
from pathlib import Path

import click
import dagster as dg
import pytest

from genai_pipeline.components import ServedModels
from genai_pipeline.components.served_models import ScaffoldParams, ServedModelsScaffolder
from tests.fakes.model_texts import with_tools

PROJECT = Path(__file__).parents[2]
NAME = "genai_pipeline.components.ServedModels"


def scaffold(folder: Path, name: str) -> None:
    """Do what `dg scaffold defs` does: it makes the folder first."""
    (folder / name).mkdir(parents=True)
    request = dg.ScaffoldRequest(NAME, folder / name, "yaml", folder, ScaffoldParams(folder="my-models"))
    ServedModelsScaffolder().scaffold(request)


def test_what_is_scaffolded_serves_the_models_of_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GENAI_HOME", str(tmp_path))
    scaffold(tmp_path / "defs", "serving")
    (tmp_path / "my.yaml").write_text(with_tools("name: my\nsource: {hub: owner/my}\n"))
    attributes = {"folder": str(tmp_path)}

    assert "folder: my-models" in (tmp_path / "defs" / "serving" / "defs.yaml").read_text()
    loaded = dg.build_defs_for_component(ServedModels.from_attributes_dict(attributes=attributes))
    assert dg.AssetKey(["my", "live"]) in {a.key for a in loaded.assets or () if isinstance(a, dg.AssetsDefinition)}


def test_a_second_one_is_refused_and_leaves_no_folder(tmp_path):
    scaffold(tmp_path, "serving")

    with pytest.raises(click.ClickException):
        scaffold(tmp_path, "more")

    assert not (tmp_path / "more").exists()


@pytest.mark.long
def test_dg_lists_the_component_and_checks_its_yaml():
    def dg_command(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("dg")), *arguments]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout

    assert NAME in {found["key"] for found in json.loads(dg_command("list", "components", "--json"))["items"]}
    assert "validated successfully" in dg_command("check", "yaml")
