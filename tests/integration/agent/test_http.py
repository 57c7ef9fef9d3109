"""Sessions and keys over HTTP, and what the service says to requests that are wrong."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.running_agent import RunningAgent, running_agent
from tests.fakes.scripted_model import Messages, Say, ScriptedModel, text_of

KEY = {"Authorization": "Bearer key-one"}
OTHER = {"Authorization": "bearer key-two"}
SESSION = "a-session-of-my-own"
JSON = {"Content-Type": "application/json"}


def echo(messages: Messages) -> Say:
    return Say(" | ".join(text_of(m) for m in messages if m["role"] == "user"))


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(echo) as model:
        yield model


@pytest.fixture(scope="module")
def agent(model: ScriptedModel) -> Iterator[RunningAgent]:
    with running_agent(model.url, max_body_bytes=2_000, max_prompt_chars=100) as agent:
        yield agent


@pytest.fixture(scope="module")
def keyed(model: ScriptedModel) -> Iterator[RunningAgent]:
    with running_agent(model.url, api_keys="key-one, key-two") as agent:
        yield agent


def ask(agent: RunningAgent, prompt: str, headers: dict[str, str] | None = None, **more: str) -> httpx.Response:
    return httpx.post(f"{agent.url}/agent", json={"prompt": prompt} | more, headers=headers, timeout=60)


def error_of(response: httpx.Response) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert len(body["error"]["message"]) > 20
    assert not {"Traceback", "pydantic"} & set(response.text.split())
    return response.status_code, body["error"]["code"]


def test_a_conversation_can_be_read_and_forgotten(agent: RunningAgent):
    session_id = ask(agent, "one").json()["session_id"]
    ask(agent, "two", session_id=session_id)
    url = f"{agent.url}/sessions/{session_id}"
    seen = httpx.get(url).json()
    assert set(seen) == {"session_id", "created", "last_used", "expires", "turns"}
    assert [(t["prompt"], t["response"], t["tools"]) for t in seen["turns"]] == [
        ("one", "one", []),
        ("two", "one | two", []),
    ]
    deleted = httpx.delete(url)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert error_of(httpx.get(url)) == (404, "no_session")
    assert error_of(httpx.delete(url)) == (404, "no_session")
    assert ask(agent, "three", session_id=session_id).json()["response"] == "three"


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", "Bearer key-one,", "Basic key-one", "key-one", "Bearer ключ".encode()],
)
@pytest.mark.parametrize("method_path", ["POST /agent", "GET /sessions/x", "DELETE /sessions/x"])
def test_without_a_known_key_nothing_is_said(keyed: RunningAgent, method_path: str, authorization: str | bytes):
    method, path = method_path.split()
    headers: Any = {"Authorization": authorization} if authorization else {}
    refused = httpx.request(method, keyed.url + path, headers=headers, content=b"not even read")

    assert error_of(refused) == (401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert "key-one" not in refused.text


def test_a_session_belongs_to_the_key_that_began_it(keyed: RunningAgent):
    assert ask(keyed, "secret", KEY, session_id=SESSION).json()["response"] == "secret"
    url = f"{keyed.url}/sessions/{SESSION}"
    for refused in (
        ask(keyed, "tell me", OTHER, session_id=SESSION),
        httpx.get(url, headers=OTHER),
        httpx.delete(url, headers=OTHER),
    ):
        assert error_of(refused) == (404, "no_session")
        assert "secret" not in refused.text
    assert ask(keyed, "more", KEY, session_id=SESSION).json()["response"] == "secret | more"


def test_who_runs_the_service_needs_no_key(keyed: RunningAgent):
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        answer = httpx.get(keyed.url + path, timeout=60)
        assert answer.status_code == 200
        assert "key-one" not in answer.text


def test_load_balancers_may_ask_without_wanting_a_body(agent: RunningAgent):
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        answer = httpx.head(agent.url + path, timeout=60)
        assert (answer.status_code, answer.content) == (200, b"")


QUESTION = b'{"prompt": "Hi"}'
# The rules of a question itself: tests/unit/agent/test_question.py.
BAD_BODIES: list[tuple[bytes, str, int, str]] = [
    (b"", "application/json", 400, "not_json"),
    ('{"prompt": "Hi"}'.encode("utf-16"), "application/json", 400, "not_json"),
    (b"[" * 1_900, "application/json", 400, "not_json"),
    (b'{"prompt": ' + b"1" * 1_900 + b"e99999}", "application/json", 400, "bad_prompt"),
    (b'{"prompt": NaN}', "application/json", 400, "bad_prompt"),
    (b'{"prompt": "\\ud800"}', "application/json", 400, "bad_prompt"),
    (b'{"prompt": "' + b"x" * 101 + b'"}', "application/json", 400, "prompt_too_long"),
    (b'{"promt": "Hi"}', "application/json", 400, "unknown_field"),
    (b'{"prompt": "Hi", "session_id": "../../../etc/passwd"}', "application/json", 400, "bad_session_id"),
    (QUESTION, "", 415, "not_json"),
    (QUESTION, "application/x-www-form-urlencoded", 415, "not_json"),
    (QUESTION, ";;;", 415, "not_json"),
    (b" " * 2_001 + QUESTION, "application/json", 413, "body_too_large"),
    (b"x" * 100_000, "application/json", 413, "body_too_large"),
]


@pytest.mark.parametrize(("body", "content_type", "status", "code"), BAD_BODIES)
def test_bad_bodies_get_a_clear_answer(
    agent: RunningAgent, model: ScriptedModel, body: bytes, content_type: str, status: int, code: str
):
    asked = len(model.seen)
    headers = {"Content-Type": content_type} if content_type else {}
    assert error_of(httpx.post(f"{agent.url}/agent", content=body, headers=headers)) == (status, code)
    assert len(model.seen) == asked


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/agent", 405, "wrong_method"),
        ("OPTIONS", "/agent", 405, "wrong_method"),
        ("PROPFIND", "/agent", 405, "wrong_method"),
        ("POST", "/healthz", 405, "wrong_method"),
        ("POST", f"/sessions/{SESSION}", 405, "wrong_method"),
        ("POST", "/agent/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/sessions/", 404, "not_found"),
        ("GET", "/sessions/short", 404, "no_session"),
        ("GET", f"/sessions/{'x' * 65}", 404, "no_session"),
        ("GET", "/sessions/..%2f..%2fetc%2fpasswd-", 404, "not_found"),
        ("GET", "/sessions/%ff%fe%ff%fe%ff%fe%ff%fe%ff%fe", 404, "no_session"),
        ("DELETE", "/sessions/nobody-has-this-one", 404, "no_session"),
        ("GET", "/static/../../etc/passwd", 404, "not_found"),
    ],
)
def test_bad_paths_and_methods_get_a_clear_answer(agent: RunningAgent, method: str, path: str, status: int, code: str):
    response = httpx.request(method, agent.url + path, timeout=60)

    assert error_of(response) == (status, code)
    if status == 405:
        allowed = {"/agent": "POST", "/healthz": "GET, HEAD"}.get(path, "DELETE, GET")
        assert response.headers["Allow"] == allowed


@pytest.mark.parametrize("request_", [b"\x16\x03\x01\x02", b"POST /agent HTTP/1.1\r\nContent-Length: -1\r\n\r\n"])
def test_a_request_that_is_not_http_gets_400(agent: RunningAgent, request_: bytes):
    host, _, port = agent.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request_ + b"\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 400")


def test_a_client_that_offers_http_2_gets_its_answer_in_http_1(agent: RunningAgent):
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}

    with httpx.Client(headers=offer, timeout=60) as client:
        answers = [client.post(f"{agent.url}/agent", json={"prompt": "Hello"}) for _ in range(2)]
        alive = client.get(f"{agent.url}/healthz")

    assert [answer.json()["response"] for answer in answers] == ["Hello", "Hello"]
    assert alive.status_code == 200


@pytest.mark.parametrize("cut", [1, 120, 220])
def test_such_an_offer_may_come_in_pieces_and_be_followed_by_another_request(agent: RunningAgent, cut: int):
    body = b'{"prompt": "Hello"}'
    lines = [b"POST /agent HTTP/1.1", b"Host: a", b"Connection: Upgrade, HTTP2-Settings, close"]
    lines += [b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__", b"Content-Type: application/json"]
    offer = b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])
    host, _, port = agent.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + offer[:cut])
        connection.recv(1)  # so that what follows is a piece of its own
        connection.sendall(offer[cut:])
        answers = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert b'"alive"' in answers
    assert answers.count(b"HTTP/1.1 200") >= 1
    assert b'"response":"Hello"' in answers


def test_a_large_body_that_is_announced_and_never_comes_holds_no_one_up(agent: RunningAgent):
    host, _, port = agent.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as stuck:
        stuck.sendall(b"POST /agent HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        assert ask(agent, "meanwhile").status_code == 200


def test_the_same_id_in_two_openings_of_a_service_is_no_secret_shared(model: ScriptedModel, agent: RunningAgent):
    with running_agent(model.url) as other:
        assert ask(agent, "one", session_id="an-id-of-a-caller-1").json()["response"] == "one"
        assert ask(other, "two", session_id="an-id-of-a-caller-1").json()["response"] == "two"


def test_the_document_describes_what_is_there(agent: RunningAgent, keyed: RunningAgent):
    plain, secured = (httpx.get(f"{a.url}/openapi.json").json() for a in (agent, keyed))

    assert set(plain["paths"]) == {
        "/agent", "/v1/models", "/v1/chat/completions", "/sessions/{session_id}",
        "/healthz", "/readyz", "/metrics", "/openapi.json",
    }  # fmt: skip
    assert "422" not in json.dumps(plain)
    assert "security" not in plain["paths"]["/agent"]["post"]
    for path, method in (("/agent", "post"), ("/v1/chat/completions", "post"), ("/v1/models", "get")):
        assert secured["paths"][path][method]["security"] == [{"key": []}, {"keyHeader": []}]
    assert "401" in secured["paths"]["/sessions/{session_id}"]["get"]["responses"]
    assert plain["components"]["schemas"]["Question"]["properties"]["prompt"]["maxLength"] == 100
