"""Settings from what `terraform output -json` prints, and what is refused without a word of its content."""

import io
import json
import shlex

import pytest

from genai_pipeline.cli import main
from genai_pipeline.cli.terraform_outputs import print_settings, settings_of
from genai_pipeline.core.errors import Refused, WrongSetting

SECRET = "s3cr3t-of-the-test"


def outputs(**values):
    """Return what `terraform output -json` prints of them; a dict stands for the whole output."""
    whole = {n: v if isinstance(v, dict) else {"sensitive": False, "type": "x", "value": v} for n, v in values.items()}
    return json.dumps(whole)


def test_settings_are_printed_as_lines_for_a_shell(monkeypatch, capsys):
    given = outputs(GENAI_PROFILE="eks", GENAI_BUCKET="o'brien", kubeconfig_command="aws eks …")
    monkeypatch.setattr("sys.stdin", io.StringIO(given))

    assert main(["env", "--from-terraform"]) == 0

    printed = capsys.readouterr()
    words = [shlex.split(line) for line in printed.out.splitlines()]
    assert words == [["export", "GENAI_BUCKET=o'brien"], ["export", "GENAI_PROFILE=eks"]]
    assert "kubeconfig_command" in printed.err
    assert "aws eks" not in printed.err


def test_they_are_read_from_a_file_under_any_profile(tmp_path, monkeypatch, capsys):
    file = tmp_path / "outputs.json"
    file.write_text(outputs(GENAI_BUCKET="models"))
    monkeypatch.setenv("GENAI_PROFILE", "eks")

    assert main(["env", "--from-terraform", str(file)]) == 0
    assert capsys.readouterr().out == "export GENAI_BUCKET=models\n"


def test_lists_numbers_and_switches_have_the_form_of_variables():
    given = outputs(
        GENAI_API_SERVER_CIDRS=["10.0.0.0/19", "10.0.32.0/19"], GENAI_MAX_ROLLOUTS=3, GENAI_WEIGHTS_MOUNT=True
    )

    settings, others = settings_of(given)

    assert settings == {
        "GENAI_API_SERVER_CIDRS": "10.0.0.0/19,10.0.32.0/19",
        "GENAI_MAX_ROLLOUTS": "3",
        "GENAI_WEIGHTS_MOUNT": "true",
    }
    assert others == []


def test_an_output_without_a_value_is_not_a_setting():
    assert settings_of(outputs(GENAI_BUCKET="models", GENAI_PROMETHEUS_URL=None))[0] == {"GENAI_BUCKET": "models"}


@pytest.mark.parametrize(
    "text",
    ["", "bucket = models", "[]", '"models"', '{"GENAI_BUCKET": "models"}', '{"GENAI_BUCKET": {"type": "string"}}'],
)
def test_something_else_than_outputs_is_refused_with_the_command_that_prints_them(text):
    with pytest.raises(Refused, match="terraform output -json"):
        settings_of(text)


@pytest.mark.parametrize("text", ["{}", outputs(bucket_name="models")])
def test_outputs_without_any_setting_are_refused(text):
    with pytest.raises(Refused, match="No output is a setting"):
        settings_of(text)


@pytest.mark.parametrize(
    "value", [{"value": SECRET, "sensitive": True}, f"https://me:{SECRET}@prometheus", [f"x://y:{SECRET}@z"]]
)
def test_a_secret_is_refused_and_never_shown(value, tmp_path, capsys):
    file = tmp_path / "outputs.json"
    file.write_text(outputs(GENAI_BUCKET="models", GENAI_PROMETHEUS_URL=value))

    assert main(["env", "--from-terraform", str(file)]) == 1

    printed = capsys.readouterr()
    assert "GENAI_PROMETHEUS_URL" in printed.err
    assert SECRET not in printed.out + printed.err


def test_secrets_under_names_that_are_no_settings_are_left_out_by_name(tmp_path, capsys):
    file = tmp_path / "outputs.json"
    file.write_text(outputs(GENAI_BUCKET="models", AWS_SECRET_ACCESS_KEY=SECRET))

    assert main(["env", "--from-terraform", str(file)]) == 0

    printed = capsys.readouterr()
    assert "AWS_SECRET_ACCESS_KEY" in printed.err
    assert SECRET not in printed.out + printed.err


def test_a_nested_value_is_refused():
    with pytest.raises(Refused, match="GENAI_BUCKET must be"):
        settings_of(outputs(GENAI_BUCKET={"value": {"name": "models"}}))


def test_a_value_that_a_setting_may_not_have_is_refused():
    with pytest.raises(WrongSetting, match="GENAI_PROFILE='gke'"):
        settings_of(outputs(GENAI_PROFILE="gke"))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refused, match="Cannot read"):
        print_settings(str(tmp_path / "missing.json"))


def test_without_a_pipe_it_does_not_wait_for_a_person(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal())

    with pytest.raises(Refused, match="Nothing is piped"):
        print_settings("-")
