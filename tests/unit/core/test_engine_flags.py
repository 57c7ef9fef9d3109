"""The shipped tables of vLLM's arguments: what they hold, and that they are what vLLM itself says."""

import pytest

from genai_pipeline.core import owned_args
from genai_pipeline.core.credentials import secret_in
from genai_pipeline.core.engine_flags import Flag, FlagTable, data_file, judging_table, read_tables, tables
from genai_pipeline.core.model_spec import Serving


def test_the_default_image_has_a_table_of_its_own():
    table = judging_table(Serving().image)

    assert table
    assert f":v{table.version}" in Serving().image


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.33.0", "0.33.0"),
        ("vllm/vllm-openai:v0.33.2", "0.33.0"),
        ("registry.example:5000/mirror/vllm:0.32.0-cu129", "0.32.0"),
        ("vllm/vllm-openai:v0.33.0@sha256:" + "a" * 64, "0.33.0"),
        ("vllm/vllm-openai:v0.3.3", None),
        ("vllm/vllm-openai:latest", None),
        ("vllm/vllm-openai", None),
        ("localhost:0.33.0/engine", None),
    ],
)
def test_an_image_is_judged_by_the_table_of_its_minor_version(image, version):
    table = judging_table(image)

    assert (table and table.version) == version


def test_a_table_survives_its_file():
    older = FlagTable("0.9.1", (Flag("a"), Flag("b", "int", "many", ("1", "2"), also=("bb",))))
    newer = FlagTable("0.10.0", (Flag("a"), Flag("c", "switch")), pairs=True)

    assert read_tables(data_file([newer, older], "here", "2026-01-01")) == (older, newer)


def test_every_owned_argument_is_one_that_vllm_has_and_only_two_sound_like_credentials():
    names = set(tables()[-1].names)

    assert {*owned_args.OWNED, *owned_args.ONLY, *owned_args.OUR_DEFAULTS} <= names
    assert {name for name in names if secret_in(name, "x")} == {"api-key", "hf-token"}
    assert names.isdisjoint({"help", "version", "log-config-file"})


@pytest.fixture(scope="module")
def generator():
    from tools import write_engine_flags

    return write_engine_flags


@pytest.mark.long
def test_the_table_of_the_installed_vllm_is_what_its_parser_says(generator):
    installed = generator.installed()

    assert {table.version: table for table in tables()}[installed.version] == installed


@pytest.mark.long
@pytest.mark.parametrize(
    "args",
    [
        {"enable-prefix-caching": False, "no-async-scheduling": True, "aggregate-engine-logging": False},
        {"lora-modules": ["sql=/a/sql", {"name": "chat", "path": "/a/chat"}], "enable-lora": True},
        {"cudagraph-capture-sizes": [1, 2, 4], "middleware": ["a.B", "c.D"], "allowed-origins": ["https://a.example"]},
        {"hf-overrides": {"x": {"y": 1}}, "compilation-config.cudagraph_mode": "FULL", "max_model_len": "128k"},
        {"moe-backend": "DEEP-GEMM", "optimization-level": 3, "speculative-config": {"method": "ngram"}},
        {"limit-mm-per-prompt": {"image": 4}, "default-chat-template-kwargs": {"enable_thinking": False}},
        {"load-format": False, "max-lora-rank": 16, "collect-detailed-traces": ["all"]},
    ],
)
def test_what_is_rendered_is_what_vllms_parser_reads(generator, args):
    from genai_pipeline.core.engine_args import command_line

    parser = generator.installed_parser()

    read = parser.parse_args(command_line(args, "vllm/vllm-openai:v0.32.0"))

    for name in args:
        if not name.startswith("no-") and "." not in name and args[name] is not False:
            assert getattr(read, name.replace("-", "_")) is not None
    if "enable-prefix-caching" in args:
        assert (read.enable_prefix_caching, read.async_scheduling) == (False, False)
    if "lora-modules" in args:
        assert [(one.name, one.path) for one in read.lora_modules] == [("sql", "/a/sql"), ("chat", "/a/chat")]
    if "middleware" in args:
        assert read.middleware == ["a.B", "c.D"]


@pytest.mark.long
def test_every_engine_that_the_tests_render_is_one_that_vllms_parser_reads(generator):
    from genai_pipeline.k8s.engine import MOUNTED
    from tests.unit.k8s.everything import PROFILES, everything

    parser = generator.installed_parser()
    objects = [one for profile in PROFILES.values() for one in everything(profile) if one["kind"] == "Deployment"]
    lines = [args for one in objects if "--served-model-name" in (args := arguments(one))]

    assert lines
    for args in lines:
        read = parser.parse_args(args)
        assert read.load_format == ("auto" if read.model == MOUNTED else "runai_streamer")


def arguments(deployment):
    return deployment["spec"]["template"]["spec"]["containers"][0].get("args", [])


@pytest.mark.long
def test_every_switch_of_the_table_has_the_form_that_is_rendered(generator):
    from genai_pipeline.core.engine_args import command_line

    parser = generator.installed_parser()
    table = judging_table("x:v0.32.0")
    switches = [flag.name for flag in table.flags if flag.kind == "switch"]

    for value in (True, False):
        read = parser.parse_args(command_line(dict.fromkeys(switches, value), "x:v0.32.0"))
        dests = {action.dest for action in parser._actions for name in switches if f"--{name}" in action.option_strings}
        assert {getattr(read, dest) for dest in dests} == {value}
