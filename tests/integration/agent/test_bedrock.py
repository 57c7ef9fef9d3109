"""Amazon Bedrock as the agent's model: the real botocore against its framing on loopback."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest

from tests.fakes.bedrock_server import BedrockServer, Reply, calls, exception, says
from tests.fakes.running_agent import RunningAgent, running_agent

HTTP = httpx.Client(timeout=60)
NOVA = "us.amazon.nova-pro-v1:0"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    return monkeypatch


def agent_on(server: BedrockServer, patch: pytest.MonkeyPatch, **settings: Any) -> Any:
    patch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
    bedrock = {"model_provider": "bedrock", "model_id": "", "deadline_s": 60.0}
    return running_agent("http://127.0.0.1:9/v1", **bedrock | settings)


def ask(agent: RunningAgent, prompt: str = "Hi") -> httpx.Response:
    return HTTP.post(f"{agent.url}/agent", json={"prompt": prompt})


def talks(body: dict[str, Any]) -> Reply:
    """Asks for the time, and then says what it was told."""
    last = body["messages"][-1]["content"]
    results = [block["toolResult"] for block in last if "toolResult" in block]
    if results:
        return says(f"told: {results[0]['content'][0]['text']}")
    return calls("get_current_time", '{"timezone": "Asia/Tokyo"}')


def test_bedrock_answers_with_tools_tokens_and_metrics(credentials: pytest.MonkeyPatch):
    with BedrockServer(talks) as server, agent_on(server, credentials) as agent:
        answer = ask(agent, "What time is it in Tokyo?").json()
        ready = HTTP.get(f"{agent.url}/readyz")
        metrics = HTTP.get(f"{agent.url}/metrics").text

    assert "(Asia/Tokyo)" in answer["response"]
    assert [(t["name"], t["status"]) for t in answer["tools"]] == [("get_current_time", "success")]
    assert (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == (22, 10)
    model, body = server.asked[0]
    assert model == NOVA
    assert body["inferenceConfig"] == {"maxTokens": 256, "temperature": 0.0}
    assert [t["toolSpec"]["name"] for t in body["toolConfig"]["tools"]] == ["get_current_time", "get_weather"]
    assert ready.json() == {"ready": True, "release": "", "model": NOVA}
    assert f'agent_completions_total{{asked_model="{NOVA}",endpoint="bedrock",outcome="answered"}} 2.0' in metrics
    assert 'agent_tokens_total{endpoint="bedrock",kind="completion"} 10.0' in metrics


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((400, "ValidationException", "The request is malformed"), (502, "model_refused")),
        ((400, "ValidationException", "Input is too long for requested model"), (413, "conversation_too_long")),
        ((400, "ValidationException", "The provided model identifier is invalid."), (503, "model_unavailable")),
        ((403, "AccessDeniedException", "not authorized"), (503, "model_unavailable")),
        ((403, "ExpiredTokenException", "The token has expired"), (503, "model_unavailable")),
        ((404, "ResourceNotFoundException", "no such model"), (503, "model_unavailable")),
        ((429, "ThrottlingException", "Too many requests"), (503, "model_busy")),
        ((500, "InternalServerException", "sorry"), (503, "model_unavailable")),
        ((503, "ServiceUnavailableException", "sorry"), (503, "model_unavailable")),
        ([*says("Hi")[:2], exception("modelStreamErrorException", "broke")], (503, "model_unavailable")),
        ([*says("Hi")[:2], exception("throttlingException", "slow down")], (503, "model_busy")),
        (says("Hi there")[:3], (502, "model_garbage")),
        ([], (502, "model_garbage")),
        ([*says("Hi")[:2], b"\0" * 64], (503, "model_unavailable")),
        ([*says("Hi")[:2], b""], (504, "model_stalled")),
        (calls("get_current_time", '{"timezone": '), (502, "no_answer")),
        (says("cut off", "max_tokens"), (502, "answer_cut_off")),
        (says("filtered", "guardrail_intervened"), (502, "no_answer")),
    ],
)
def test_each_failure_of_bedrock_is_distinguished(
    reply: Reply, expected: tuple[int, str], credentials: pytest.MonkeyPatch
):
    timeout_s = 1.5 if "model_stalled" in expected else 30.0
    with BedrockServer(lambda _: reply) as server, agent_on(server, credentials, model_timeout_s=timeout_s) as agent:
        response = ask(agent)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == expected
    assert "Traceback" not in error["message"]


def test_bedrock_is_a_fallback_by_one_setting(credentials: pytest.MonkeyPatch):
    with BedrockServer(talks) as server:
        credentials.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        with running_agent("http://127.0.0.1:9/v1", model_fallbacks=f"bedrock:{NOVA}") as agent:
            answer = ask(agent)
            metrics = HTTP.get(f"{agent.url}/metrics").text

    assert "(Asia/Tokyo)" in answer.json()["response"]
    assert 'agent_completions_total{asked_model="scripted",endpoint="127.0.0.1:9",outcome="failed"}' in metrics
    assert f'agent_completions_total{{asked_model="{NOVA}",endpoint="bedrock"' in metrics


def test_many_conversations_with_bedrock_run_side_by_side(credentials: pytest.MonkeyPatch):
    many = 24  # more than the threads of the loop's own executor
    together = Barrier(many, timeout=30)

    def waits(body: dict[str, Any]) -> Reply:
        together.wait()
        return says("all here")

    with (
        BedrockServer(waits) as server,
        agent_on(server, credentials) as agent,
        ThreadPoolExecutor(many) as pool,
    ):
        answers = list(
            pool.map(lambda _: httpx.post(f"{agent.url}/agent", json={"prompt": "Hi"}, timeout=60), range(many))
        )

    assert {answer.json().get("response") for answer in answers} == {"all here"}
