"""The door of an engine that sleeps, around an app that says which path it was asked for."""

import asyncio
import json

import pytest

from genai_pipeline.k8s.sleeping import METHODS, ORDINARY, Sleeping

TOKEN = {"x-genai-pipeline-token": "secret"}
DEV_PATHS = ["/collective_rpc", "/reset_prefix_cache", "/server_info", "/pause", "/update_weights", "/not/known/yet"]


class Pod:
    """Requests to the door. `passed`: what the app behind it was asked."""

    def __init__(self, status=200):
        self.passed = []
        self.status = status
        self.door = Sleeping(self.app)

    async def app(self, scope, receive, send):
        self.passed.append((scope["path"], scope.get("query_string", b"").decode()))
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def ask(self, method, path, headers=None, root="", type="http"):
        """Return status, headers and body; of a websocket the message that came back."""
        sent = []

        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(message):
            sent.append(message)

        path, _, query = path.partition("?")
        given = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {"type": type, "method": method, "path": root + path, "root_path": root, "headers": given}
        asyncio.run(self.door(scope | {"query_string": query.encode()}, receive, send))
        if type == "websocket":
            return sent
        return sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:])


@pytest.fixture
def pod(monkeypatch):
    monkeypatch.setenv("GENAI_PIPELINE_TOKEN", "secret")
    return Pod()


@pytest.fixture
def asleep(pod):
    assert pod.ask("POST", "/sleep?level=1", TOKEN)[0] == 200
    pod.passed.clear()
    return pod


@pytest.mark.parametrize("path", DEV_PATHS)
@pytest.mark.parametrize("headers", [{}, TOKEN], ids=["user", "pipeline"])
@pytest.mark.parametrize("root", ["", "/behind/a/proxy"])
def test_a_path_that_is_not_known_does_not_exist_for_anybody(pod, path, headers, root):
    assert [pod.ask(method, path, headers, root)[0] for method in ("GET", "POST")] == [404, 404]
    assert not pod.passed


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses/resp_1/cancel", "/metrics", "/drain"])
@pytest.mark.parametrize("root", ["", "/behind/a/proxy"])
def test_paths_of_clients_pass_while_it_is_awake(pod, path, root):
    assert pod.ask("POST", path, root=root)[0] == 200


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize("headers", [{}, {"x-genai-pipeline-token": "wrong"}, {"x-genai-pipeline-token": ""}])
def test_without_the_token_the_pipelines_paths_do_not_exist(pod, path, headers):
    assert pod.ask(METHODS[path], f"{path}?level=1", headers)[0] == 404
    assert not pod.passed


def test_without_a_token_in_the_pod_nothing_opens_them(monkeypatch):
    monkeypatch.delenv("GENAI_PIPELINE_TOKEN", raising=False)

    assert Pod().ask("POST", "/sleep?level=1", {"x-genai-pipeline-token": ""})[0] == 404


@pytest.mark.parametrize("query", ["", "level=2", "level=0", "level=1&level=2", "level=1&mode=keep", "level=01"])
def test_another_level_is_refused_with_words(pod, query):
    status, _, body = pod.ask("POST", f"/sleep?{query}", TOKEN)

    assert status == 400
    assert "level 1" in json.loads(body)["error"]["message"]
    assert not pod.passed
    assert pod.ask("POST", "/v1/completions")[0] == 200


def test_a_part_of_the_memory_does_not_wake_alone(asleep):
    assert asleep.ask("POST", "/wake_up?tags=weights", TOKEN)[0] == 400
    assert not asleep.passed


def test_a_sleeping_engine_turns_users_away_and_never_hears_of_them(asleep):
    status, headers, _ = asleep.ask("POST", "/v1/chat/completions")

    assert status == 503
    assert headers[b"retry-after"] == b"5"
    assert headers[b"connection"] == b"close"
    assert asleep.ask("GET", "/v1/models")[0] == 503
    assert not asleep.passed


def test_a_sleeping_engine_is_alive_and_not_ready(asleep):
    assert asleep.ask("GET", "/health")[0] == 200
    assert asleep.ask("GET", "/genai/ready")[0] == 503
    assert asleep.ask("GET", "/metrics")[0] == 200


def test_an_engine_that_is_awake_is_as_ready_as_it_is_healthy(pod):
    pod.status = 503
    assert pod.ask("GET", "/genai/ready")[0] == 503
    pod.status = 200
    assert pod.ask("GET", "/genai/ready")[0] == 200
    assert {path for path, _ in pod.passed} == {"/health"}


def test_the_pipeline_asks_an_awake_engine_before_users_do(asleep):
    assert asleep.ask("POST", "/wake_up", TOKEN)[0] == 200

    assert asleep.ask("POST", "/v1/completions")[0] == 503
    assert asleep.ask("POST", "/v1/completions", TOKEN)[0] == 200
    assert asleep.ask("GET", "/genai/ready")[0] == 503
    assert json.loads(asleep.ask("GET", "/is_sleeping", TOKEN)[2]) == {"is_sleeping": True}

    assert asleep.ask("POST", "/genai/open", TOKEN)[0] == 200
    assert asleep.ask("POST", "/v1/completions")[0] == 200
    assert json.loads(asleep.ask("GET", "/is_sleeping", TOKEN)[2]) == {"is_sleeping": False}


def test_an_engine_that_fails_to_sleep_turns_users_away_all_the_same(monkeypatch):
    monkeypatch.setenv("GENAI_PIPELINE_TOKEN", "secret")
    pod = Pod(status=500)
    assert pod.ask("POST", "/sleep?level=1", TOKEN)[0] == 500

    assert pod.ask("POST", "/v1/completions")[0] == 503


def test_websockets_have_the_same_door(pod):
    assert pod.ask("GET", "/collective_rpc", type="websocket") == [{"type": "websocket.close", "code": 1000}]
    pod.ask("POST", "/sleep?level=1", TOKEN)
    assert pod.ask("GET", "/v1/realtime", type="websocket") == [{"type": "websocket.close", "code": 1013}]


def test_no_path_of_the_pipeline_is_open_to_clients_as_well():
    assert not ORDINARY & METHODS.keys()
