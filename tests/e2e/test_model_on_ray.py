"""The demo model on Ray on one machine, as a user brings it there: `GENAI_MODELS=demo/ray genai up`."""

import shutil
import tempfile
from pathlib import Path

import httpx
import pytest

from genai_pipeline.local.installation import PROJECT
from tests.e2e.conftest import MODEL, Installation, demo_models

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]
DEADLINE_S = 1800


@pytest.fixture(scope="module")
def installation():
    home = Path(tempfile.mkdtemp(prefix="genai-e2e-"))
    installation = Installation(home, demo_models(home / "models", PROJECT / "demo" / "ray"))
    yield installation
    installation.genai("down")
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def v1(installation):
    return installation.genai("up", deadline_s=DEADLINE_S)


def body(model, stream=False):
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16, "stream": stream}


def ask(url, model):
    return httpx.post(f"{url}/chat/completions", json=body(model), timeout=60, trust_env=False)


def test_it_goes_live_with_every_check_passed(installation, v1):
    assert v1.code == 0, v1.output
    assert "14°C in Paris" in v1.output
    [release] = installation.model["releases"]
    assert release["verdicts"]["missing"] == 0
    assert release["verdicts"]["passed"] > 25
    assert release["not_passed"] == []


def test_it_answers_to_both_names(installation, v1):
    assert v1.code == 0, v1.output
    model = installation.model
    url = model["endpoints"]["openai"]
    names = (MODEL, f"{MODEL}@{model['live']}")

    assert [ask(url, name).status_code for name in (*names, f"{MODEL}@other")] == [200, 200, 404]
    cards = httpx.get(f"{url}/models", timeout=60, trust_env=False).json()["data"]
    assert {card["id"] for card in cards} == set(names)
    assert len({card["root"] for card in cards}) == 1


def test_it_streams_piece_by_piece(installation, v1):
    assert v1.code == 0, v1.output
    url = f"{installation.model['endpoints']['openai']}/chat/completions"
    with httpx.stream("POST", url, json=body(MODEL, stream=True), timeout=60, trust_env=False) as answer:
        lines = [line for line in answer.iter_lines() if line]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(lines) >= 3
    assert lines[-1] == "data: [DONE]"


def test_the_replicas_log_is_the_engines(installation, v1):
    assert v1.code == 0, v1.output
    assert "(EngineCore pid=" in installation.genai("logs", MODEL, "-n", "2000").output


def test_it_answers_again_after_down_and_up_without_another_release(installation, v1):
    assert v1.code == 0, v1.output
    before = installation.model
    assert installation.genai("down").code == 0
    assert installation.processes() == []

    again = installation.genai("up", deadline_s=DEADLINE_S)

    assert again.code == 0, again.output
    assert [r["release"] for r in installation.model["releases"]] == [r["release"] for r in before["releases"]]
    assert ask(installation.model["endpoints"]["openai"], f"{MODEL}@{before['live']}").status_code == 200
