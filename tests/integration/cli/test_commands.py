"""The command line as a user has it, with nothing running."""

import json
import os
import resource
import subprocess
import sys

import pytest
import yaml

from tests.fakes.model_texts import with_tools


@pytest.fixture
def genai(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "tiny.yaml").write_text(with_tools("name: tiny\nsource: {hub: owner/model}\n"))
    env = {"PATH": os.environ["PATH"], "GENAI_HOME": str(tmp_path / "h"), "GENAI_MODELS": str(models)}

    def run(*args, **more):
        command = [sys.executable, "-m", "genai_pipeline.cli", *args]
        return subprocess.run(command, env=env | more, capture_output=True, text=True, timeout=60, check=False)

    run.models = models
    return run


def test_help_needs_less_than_half_a_second_of_a_core(genai):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    result = genai("--help")

    assert result.returncode == 0
    for command in (
        "up",
        "down",
        "status",
        "doctor",
        "plan",
        "render",
        "logs",
        "publish",
        "env",
        "stage",
        "verify",
        "prune",
    ):
        assert f"\n    {command} " in result.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 0.5


def test_a_wrong_command_line_is_exit_code_2(genai):
    assert genai("upp").returncode == 2
    assert genai().returncode == 2


@pytest.mark.parametrize(
    ("args", "env", "says"),
    [
        (["status"], {"GENAI_PROFILE": "laptop"}, "'local', 'kubernetes' or 'eks'"),
        (["up"], {"GENAI_PROFILE": "eks"}, "`genai up` is for GENAI_PROFILE=local"),
        (["up"], {"GENAI_MODELS": "/nonexistent"}, "no valid model file"),
        (["up", "--model", "other"], {}, "Known models: tiny."),
        (["up"], {"GENAI_S3_PORT": "many"}, "GENAI_S3_PORT"),
        (["env"], {}, "Run `genai up` first."),
        (["env"], {"GENAI_PROFILE": "eks"}, "genai env --from-terraform"),
        (["logs", "nothing"], {}, "Known: s3,"),
        (["publish", "v2"], {}, "comes from the embedded hub"),
        (["render"], {"HF_ENDPOINT": "http://127.0.0.1:9"}, "--revision"),
        (["status"], {"GENAI_HOME": "/tmp/" + "x" * 120}, "Set GENAI_HOME to a shorter path."),
    ],
)
def test_an_error_says_what_to_do_without_a_traceback(genai, args, env, says):
    result = genai(*args, **env)

    assert result.returncode == 1
    assert says in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_status_answers_when_everything_is_down(genai):
    result = genai("status", "--json")

    status = json.loads(result.stdout)
    assert result.returncode == 0
    assert status["models"][0]["name"] == "tiny"
    assert any("Run `genai up`" in problem for problem in status["problems"])


def test_doctor_fails_for_a_wrong_model_file_and_says_where(genai):
    (genai.models / "bad.yaml").write_text("name: bad\nsource: {hub: owner/model}\nserving: {engine: tgi}\n")

    result = genai("doctor")

    assert result.returncode == 1
    assert "bad.yaml:3: serving.engine:" in result.stdout


@pytest.mark.parametrize("profile", ["local", "kubernetes"])
def test_a_plan_with_nothing_running_says_what_is_not_known(genai, tmp_path, profile):
    silent = "http://127.0.0.1:9"
    reached = {
        "HF_ENDPOINT": silent,
        "AWS_ENDPOINT_URL": silent,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    mine = tmp_path / "mine.yaml"
    args = "args: {enable-auto-tool-choice: true, tool-call-parser: mistral}"
    mine.write_text(f"name: mine\nsource: {{folder: {weights}}}\nserving: {{{args}}}\n")

    result = genai("plan", str(mine), "--json", GENAI_PROFILE=profile, KUBECONFIG="/nonexistent", **reached)

    assert "Traceback" not in result.stderr
    assert result.returncode == 1, result.stdout + result.stderr  # the folder has no weights
    said = json.loads(result.stdout)
    levels = {section["title"]: {line["level"] for line in section["lines"]} for section in said["sections"]}
    assert "change" in levels["Source"]
    assert "unknown" in levels["Room"] & levels["Next tick"]
    assert levels["Proof"] == {"ok"}
    assert not (tmp_path / "h").exists()


def test_down_with_nothing_running_is_fine(genai):
    assert genai("down").returncode == 0


def test_what_prometheus_and_grafana_read_is_rendered_without_asking_the_hub(genai, tmp_path):
    away = {"HF_ENDPOINT": "http://127.0.0.1:9"}

    objects = genai("render", "--observability", "--out", str(tmp_path / "out"), **away)
    rules = genai("render", "--rules", **away)

    assert objects.returncode == 0, objects.stderr
    written = {file.name for file in (tmp_path / "out" / "observability").iterdir()}
    assert {"prometheusrule-genai-tiny.yaml", "configmap-dashboard-genai-service.yaml"} <= written
    assert {group["name"] for group in yaml.safe_load(rules.stdout)["groups"]} == {"genai-platform", "genai-tiny"}


def test_render_writes_what_the_pipeline_would_apply(genai, tmp_path):
    result = genai("render", "tiny", "--revision", "a" * 40, "--out", str(tmp_path / "out"))

    assert result.returncode == 0, result.stderr
    names = {file.name for file in (tmp_path / "out" / "tiny").iterdir()}
    assert {"service-tiny.yaml", "service-tiny-agent.yaml"} <= names


def test_logs_into_a_closed_pipe_end_quietly(genai, tmp_path):
    log = tmp_path / "h" / "logs" / "hub.log"
    log.parent.mkdir(parents=True)
    log.write_text("line\n" * 20000)
    command = f"{sys.executable} -m genai_pipeline.cli logs hub -n 20000 | head -n 1"

    result = subprocess.run(
        ["bash", "-c", command], env=os.environ | {"GENAI_HOME": str(tmp_path / "h")}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip

    assert result.stdout == "line\n"
    assert result.stderr == ""
