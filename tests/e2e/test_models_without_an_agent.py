"""Models that were not made for this project go live: a real chat model without tools, one that continues a text, one
that embeds, one that scores. Each is a folder and a model file, in one installation, as a user brings them."""

import math
import shutil
import tempfile
from pathlib import Path

import httpx
import pytest
import yaml

from genai_pipeline.local.installation import PROJECT
from tests.e2e.conftest import Ended, Installation
from tests.e2e.smollm2 import smollm2
from tests.e2e.tiny_encoders import write_embedder, write_reranker
from tests.fakes.tiers import nightly_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

LITTLE_MEMORY = {"VLLM_CPU_KVCACHE_SPACE": "1"}
WRITES = {"args": {"max-model-len": 1024, "enforce-eager": True}, "env": LITTLE_MEMORY}
READS = {"args": {"enforce-eager": True}, "env": LITTLE_MEMORY}
SLOW_MACHINE = {"at_concurrency": 2, "requests": 8}
FILES = {
    "smol": {"agent": "none", "serving": WRITES, "gates": {"ttft_p95_ms": 20_000, "min_tokens_per_s": 1}},
    "writer": {"task": "completion", "serving": WRITES, "gates": {"ttft_p95_ms": 20_000, "min_tokens_per_s": 1}},
    "embedder": {"task": "embed", "serving": READS, "gates": {}},
    "reranker": {"task": "score", "serving": READS, "gates": {}},
}
BY_DAY = ("smol", "embedder")


@pytest.fixture(scope="module")
def files(request):
    """The model files that a selected test asks: an engine that no test asks would only cost time."""
    return FILES if nightly_of(request) else {name: FILES[name] for name in BY_DAY}


@pytest.fixture(scope="module")
def installation(files):
    home = Path(tempfile.mkdtemp(prefix="genai-e2e-"))
    installation = Installation(home, home / "models")
    write_embedder(home / "weights" / "embedder")
    write_reranker(home / "weights" / "reranker")
    folders = {"smol": smollm2(), "writer": PROJECT / "demo/hub/genai-demo/weather-agent/v1"}
    installation.models.mkdir()
    for name, fields in files.items():
        folder = folders.get(name, home / "weights" / name)
        model = {
            **fields,
            "name": name,
            "source": {"folder": str(folder)},
            "serving": fields["serving"] | {"resources": {"cpu": 0.5, "memory_gib": 3}},
            "gates": {"serving": SLOW_MACHINE | fields["gates"]},
            "rollout": {"watch_minutes": 0},
        }
        (installation.models / f"{name}.yaml").write_text(yaml.safe_dump(model))
    yield installation
    installation.genai("down")
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def smol(installation) -> Ended:
    """`genai up` for the first model alone. The rollouts of the others go on meanwhile."""
    return installation.genai("up", "--model", "smol")


@pytest.fixture(scope="module")
def up(installation, smol) -> Ended:
    """`genai up` for all of them."""
    assert smol.code == 0, smol.output
    return installation.genai("up")


def ask(installation: Installation, model: str, path: str, **body) -> dict:
    """Ask the stable address of a model."""
    address = installation.served(model)["endpoints"]["openai"]
    answer = httpx.post(address + path, json={"model": model, **body}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_chat_model_without_tools_goes_live_and_answers(installation, smol):
    assert smol.code == 0, smol.output
    assert "Model: " in smol.output

    question = [{"role": "user", "content": "What is the capital of France?"}]
    answer = ask(installation, "smol", "/chat/completions", messages=question, temperature=0, max_tokens=24)

    assert "Paris" in answer["choices"][0]["message"]["content"]


def test_what_does_not_apply_is_not_asked_and_nothing_else_is_missing(installation, up, files):
    assert up.code == 0, up.output
    for name in files:
        model = installation.served(name)
        (release,) = model["releases"]
        assert (model["live"], release["phase"]) == (release["release"], "live")
        assert release["verdicts"]["passed"] > 10
        assert release["not_passed"] == []
        assert release["verdicts"]["missing"] == 0
        assert model["endpoints"]["agent"] is None


@pytest.mark.nightly
def test_a_model_for_completions_continues_a_text(installation, up):
    answer = ask(installation, "writer", "/completions", prompt="The weather in Paris", max_tokens=8)

    assert answer["choices"][0]["text"]
    assert answer["usage"]["completion_tokens"] <= 8


def test_a_model_for_embeddings_gives_like_texts_the_same_vector(installation, up):
    answer = ask(installation, "embedder", "/embeddings", input=["a cat", "a cat", "it rain"])

    first, same, other = (part["embedding"] for part in answer["data"])
    assert math.sqrt(sum(number**2 for number in first)) == pytest.approx(1, abs=0.01)
    assert first == pytest.approx(same, abs=1e-3)
    assert first != pytest.approx(other, abs=1e-3)


@pytest.mark.nightly
def test_a_model_for_scores_sorts_documents(installation, up):
    documents = ["the cat sleeps", "rain falls", "sun"]
    answer = ask(installation, "reranker", "/rerank", query="cat", documents=documents)

    scores = [part["relevance_score"] for part in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(part["index"] for part in answer["results"]) == [0, 1, 2]
    assert all(0 <= score <= 1 for score in scores)


def test_up_says_how_each_is_asked(up, files):
    assert "/v1/embeddings" in up.output
    assert "64 numbers" in up.output
    assert ("/v1/score" in up.output) == ("reranker" in files)
    assert "Agent" not in up.output


def test_the_chat_page_offers_those_that_write_and_names_the_others(installation, up):
    address = next(line.split()[-1] for line in up.output.splitlines() if line.startswith("Chat page"))
    question = {"model": "smol", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}

    said = httpx.post(f"{address}/smol/v1/chat/completions", json=question, timeout=60)

    assert said.json()["choices"][0]["message"]["content"]
    assert '"embedder": "/v1/embeddings"' in httpx.get(address).text
    assert httpx.post(f"{address}/embedder/v1/embeddings", json={}).status_code == 404
