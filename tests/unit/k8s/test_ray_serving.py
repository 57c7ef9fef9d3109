import argparse
import sys
from types import ModuleType, SimpleNamespace

import pytest

from genai_pipeline.k8s import ray_serving
from genai_pipeline.k8s.ray_serving import Parts, parse

LAYOUTS = {
    "0.32": ("entrypoints.launchers.cli_args", "entrypoints.serve.utils.api_utils"),
    "0.33": ("entrypoints.common.cli_args", "entrypoints.common.startup"),
}
"""Where two parts of vLLM's server are that `vllm serve` uses."""


def make_arg_parser(parser):
    for name in ("--model", "--tool-parser-plugin", "--reasoning-parser-plugin"):
        parser.add_argument(name)
    return parser


@pytest.fixture(params=LAYOUTS)
def layout(request, monkeypatch):
    """A vLLM that has these modules only. Returns what was called."""
    cli, startup = LAYOUTS[request.param]
    called = []
    checks = {name: lambda *_, name=name: called.append(name) for name in ("cli_env_setup", "validate_api_server_args")}
    modules = {
        cli: {"make_arg_parser": make_arg_parser, "validate_parsed_serve_args": lambda _: called.append("validate")},
        startup: {"cli_env_setup": checks["cli_env_setup"]},
        "entrypoints.launchers.launcher": {"validate_api_server_args": checks["validate_api_server_args"]},
        "utils.argparse_utils": {"FlexibleArgumentParser": argparse.ArgumentParser},
    }
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    for name, content in modules.items():
        monkeypatch.setitem(sys.modules, f"vllm.{name}", SimpleNamespace(**content))
    return called


def test_the_command_line_is_read_and_checked_by_each_vllm_that_the_product_names(layout):
    assert parse(["--model=m"]).model == "m"
    assert layout == ["cli_env_setup", "validate", "validate_api_server_args"]


@pytest.fixture
def placed(monkeypatch):
    """Which node holds each bundle of the replica, as Ray's state has it. A bundle without a node has an empty name."""
    placed = {0: "aa", 1: "bb"}
    monkeypatch.setattr(ray_serving, "placement_group_table", lambda _: {"bundles_to_node_id": dict(placed)})
    return placed


def test_a_replica_on_its_nodes_has_lost_nothing(placed):
    Parts(SimpleNamespace()).refuse_lost()


@pytest.mark.parametrize("then", ["", "cc"])
def test_a_replica_whose_further_node_went_away_is_not_healthy(placed, then):
    parts = Parts(SimpleNamespace())
    placed[1] = then

    with pytest.raises(RuntimeError, match="lost a worker"):
        parts.refuse_lost()


def test_a_replica_on_one_worker_asks_rays_state_nothing(monkeypatch):
    monkeypatch.setattr(ray_serving, "placement_group_table", None)

    Parts(None).refuse_lost()
