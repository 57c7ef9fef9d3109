"""Schemathesis finds nothing between the service and its OpenAPI document."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.running_agent import running_agent
from tests.fakes.scripted_model import Say, ScriptedModel

SCHEMATHESIS = str(Path(sys.executable).parent / "schemathesis")
CONFIG = """
[[operations]]
include-path = "/v1/chat/completions"
checks.positive_data_acceptance.expected-statuses = [200, 400, 401, 404]
"""
"""A JSON schema cannot say that the last message must be the user's, with text: such a request gets 400."""


@pytest.mark.long
@pytest.mark.parametrize(("keys", "examples"), [("", 15), ("a-key,another", 3)])
def test_schemathesis_finds_nothing(keys: str, examples: int, tmp_path: Path):
    with ScriptedModel(lambda _: Say("Fine.")) as model, running_agent(model.url, api_keys=keys) as agent:
        command = [SCHEMATHESIS, "run", f"{agent.url}/openapi.json", "--checks", "all", "--no-color"]
        command += ["--max-examples", str(examples), "--generation-deterministic", "--request-timeout", "60"]
        command += ["--header", f"Authorization: Bearer {keys.split(',')[0]}"] if keys else []
        (tmp_path / "schemathesis.toml").write_text(CONFIG)
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)

    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
    assert "POST /agent" not in ended.stdout.partition("WARNINGS")[2]
