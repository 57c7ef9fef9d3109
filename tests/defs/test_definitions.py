import subprocess
import sys

import dagster as dg
import pytest

from genai_pipeline.core.checks import CHECKS, PLATFORM_CHECKS, UPKEEP_CHECKS
from genai_pipeline.definitions import defs
from tests.defs.desk import Desk
from tests.defs.graph_snapshot import SNAPSHOT, graph_as_text
from tests.fakes.model_texts import with_tools
from tests.fakes.world import EKS, KUBERNETES, PROFILE, World


@pytest.fixture(scope="module")
def location() -> dg.Definitions:
    """The code location of this repository, with its own model files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GENAI_MODELS", raising=False)
        return defs()


def test_a_change_of_the_graph_shows_in_review(location):
    assert graph_as_text(location) == SNAPSHOT.read_text(), "If it is meant: python -m tests.defs.graph_snapshot"


def test_every_check_of_the_product_is_in_the_graph_where_all_of_them_apply(tmp_path, monkeypatch):
    gated = "gates: {agent: {tool_calling_min: 0.9}}\nserving: {gpu: {reservation: optional}}\n"
    (tmp_path / "m.yaml").write_text(with_tools("name: m\nsource: {hub: a/b}\n" + gated))
    monkeypatch.setenv("GENAI_MODELS", str(tmp_path))
    monkeypatch.setenv("GENAI_PROFILE", "eks")

    graph = defs().resolve_asset_graph()

    found = {(k.asset_key.path[-1], k.name) for k in graph.asset_check_keys}
    assert found == {
        (a, c) for checks in (CHECKS, PLATFORM_CHECKS, UPKEEP_CHECKS) for a, names in checks.items() for c in names
    }


@pytest.mark.parametrize(("profile", "asked"), [(EKS, True), (KUBERNETES, False), (PROFILE, False)])
def test_checks_of_node_pools_are_asked_where_the_profile_brings_some(profile, asked):
    desk = Desk(World(), profile=profile)
    asset = next(a for a in desk.defs.assets if a.key.path[-1] == "node_pools")

    result = dg.materialize([asset], resources=desk.defs.resources)

    (about,) = result.asset_materializations_for_node(asset.node_def.name)
    assert {c.check_name for c in result.get_asset_check_evaluations()} == (
        set(PLATFORM_CHECKS["node_pools"]) if asked else set()
    )
    assert ("not_applicable" in about.metadata) is not asked


def test_a_wrong_model_file_is_reported_and_takes_nothing_with_it(tmp_path, monkeypatch):
    (tmp_path / "good.yaml").write_text(with_tools("name: good\nsource: {hub: a/b}\n"))
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


def test_what_one_machine_cannot_do_is_refused_by_the_local_profile_alone(tmp_path, monkeypatch):
    (tmp_path / "m.yaml").write_text(
        with_tools("name: m\nsource: {hub: a/b}\nserving: {engine: ray, replicas: {max: 2}}\n")
    )
    monkeypatch.setenv("GENAI_MODELS", str(tmp_path))
    monkeypatch.setenv("GENAI_PROFILE", "kubernetes")
    assert dg.AssetKey(["m", "live"]) in defs().resolve_asset_graph().get_all_asset_keys()

    monkeypatch.setenv("GENAI_PROFILE", "local")

    graph = defs().resolve_asset_graph()
    assert dg.AssetKey(["m", "live"]) not in graph.get_all_asset_keys()
    assert "serving.replicas.max" in graph.get(dg.AssetKey(["platform", "model_files"])).description


def test_the_code_location_loads_without_models_network_or_environment(tmp_path):
    code = "from genai_pipeline.definitions import defs; defs().get_repository_def().load_all_definitions()"
    env = {"GENAI_MODELS": str(tmp_path), "PATH": ""}

    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
