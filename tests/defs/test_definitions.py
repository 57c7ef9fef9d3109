import subprocess
import sys

import dagster as dg
import pytest

from genai_pipeline.core.checks import CHECKS, PLATFORM_CHECKS, UPKEEP_CHECKS
from genai_pipeline.definitions import defs
from tests.defs.graph_snapshot import SNAPSHOT, graph_as_text


@pytest.fixture(scope="module")
def location() -> dg.Definitions:
    """The code location of this repository, with its own model files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GENAI_MODELS", raising=False)
        return defs()


def test_a_change_of_the_graph_shows_in_review(location):
    assert graph_as_text(location) == SNAPSHOT.read_text(), "If it is meant: python -m tests.defs.graph_snapshot"


def test_every_check_of_the_product_is_in_the_graph(location):
    graph = location.resolve_asset_graph()

    found = {(k.asset_key.path[-1], k.name) for k in graph.asset_check_keys}
    assert found == {
        (a, c) for checks in (CHECKS, PLATFORM_CHECKS, UPKEEP_CHECKS) for a, names in checks.items() for c in names
    }


def test_a_wrong_model_file_is_reported_and_takes_nothing_with_it(tmp_path, monkeypatch):
    (tmp_path / "good.yaml").write_text("name: good\nsource: {hub: a/b}\n")
    (tmp_path / "bad.yaml").write_text("name: bad\nsource: {hub: a/b}\nserving: {engin: vllm}\n")
    monkeypatch.setenv("GENAI_MODELS", str(tmp_path))

    loaded = defs()
    graph = loaded.resolve_asset_graph()
    result = dg.materialize([a for a in loaded.assets if a.key.path == ["platform", "model_files"]])

    assert dg.AssetKey(["good", "live"]) in graph.get_all_asset_keys()
    assert "bad.yaml:3: serving.engin" in graph.get(dg.AssetKey(["platform", "model_files"])).description
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert "Did you mean `engine`?" in check.description


def test_the_code_location_loads_without_models_network_or_environment(tmp_path):
    code = "from genai_pipeline.definitions import defs; defs().get_repository_def().load_all_definitions()"
    env = {"GENAI_MODELS": str(tmp_path), "PATH": ""}

    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
