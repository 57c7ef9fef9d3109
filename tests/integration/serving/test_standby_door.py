"""The paths of the installed vLLM, with and without its development mode, against those that a standby lets through.

An upgrade that adds a path makes this red: decide then whether clients need it (`k8s/sleeping.py`, ORDINARY).
"""

import json
import os
import subprocess
import sys

import pytest

from genai_pipeline.k8s.sleeping import METHODS, ORDINARY, is_ordinary

PATHS = """
import json, os
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

args = make_arg_parser(FlexibleArgumentParser()).parse_args([])
args.enable_fault_tolerance = args.enable_tokenizer_info_endpoint = True
for os.environ["VLLM_SERVER_DEV_MODE"] in ("0", "1"):
    app = build_app(args, ("generate", "render", "transcription", "realtime"))
    print("PATHS", json.dumps(sorted({route.path for route in app.routes})))
"""
CONTROL = {
    "/adapters",
    "/adapters/{adapter_name}",
    "/scale_elastic_ep",
    "/is_scaling_elastic_ep",
    "/fault_tolerance/apply",
    "/fault_tolerance/status",
    "/inference/v1/abort_requests",
    "/kv_event_sources",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
}
"""Paths without the development mode that control the engine, or serve other engines: a standby keeps them closed."""
OURS = {"/drain", "/genai/compile-cache", "/genai/restored", "/metrics/"}


@pytest.fixture(scope="module")
def paths():
    """The paths without and with the development mode."""
    env = os.environ | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    done = subprocess.run([sys.executable, "-c", PATHS], env=env, capture_output=True, text=True, timeout=300)
    found = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("PATHS ")]
    assert len(found) == 2, done.stderr[-2000:]
    return [set(each) for each in found]


@pytest.fixture
def ordinary(paths):
    return paths[0]


@pytest.fixture
def of_dev_mode(paths):
    return paths[1] - paths[0]


def test_no_path_of_the_development_mode_is_open_to_clients(of_dev_mode):
    assert {"/collective_rpc", "/sleep", "/server_info", "/update_weights"} <= of_dev_mode
    assert not {path for path in of_dev_mode if is_ordinary(path)}


def test_the_engine_has_the_paths_by_which_it_sleeps_and_wakes(of_dev_mode):
    assert METHODS.keys() - of_dev_mode == {"/genai/open"}


def test_clients_have_all_other_paths_of_this_vllm(ordinary):
    assert {path for path in ordinary if not is_ordinary(path)} == CONTROL


def test_the_list_names_no_path_that_this_vllm_lacks(ordinary):
    assert ORDINARY - ordinary == OURS
