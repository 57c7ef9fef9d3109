"""The real Open WebUI, from PyPI, in front of a model: page to engine, page to agent to tool, and a switch beneath it.

The objects are the product's own, on a real local cluster. The engine is the fake one, whose answers are known.
"""

import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from genai_pipeline.gateways.cluster.local import LocalCluster
from genai_pipeline.k8s.render import render_chat_account, render_chat_ui, render_platform
from genai_pipeline.local.open_webui import find_python, find_uv, folder_of, install
from genai_pipeline.local.open_webui_account import account
from genai_pipeline.local.weather_server import WeatherServer, known_weather
from tests.faults.rollback.conftest import Stage
from tests.faults.rollout.conftest import cluster_daemon as cluster_daemon

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

READY_S = 300
SLOW_TOKEN_S = 0.2


@dataclass(frozen=True)
class Chat:
    """One streamed answer: its text, the release that gave it, how many pieces it came in, and when."""

    text: str
    release: str
    pieces: int
    began: float
    ended: float


class OpenWebUI:
    """What its own page sends, after the sign-in."""

    def __init__(self, url, email, password):
        self.http = httpx.Client(base_url=url, timeout=120, trust_env=False)
        signed_in = self.http.post("/api/v1/auths/signin", json={"email": email, "password": password})
        signed_in.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {signed_in.json()['token']}"

    def models(self):
        return {model["id"] for model in self.http.get("/api/models").raise_for_status().json()["data"]}

    def chat(self, model, text):
        """Raises: AssertionError, HTTPError: the answer is an error, or not whole."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
        began, said, releases, done = time.monotonic(), [], set(), False
        with self.http.stream("POST", "/api/chat/completions", json=body) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                data = line.removeprefix("data: ")
                done = done or data == "[DONE]"
                if line.startswith("data: {"):
                    chunk = json.loads(data)
                    assert "error" not in chunk, chunk
                    releases.add(chunk.get("system_fingerprint"))
                    said += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
        assert done, f"the stream ended early: {said}"
        (release,) = {r for r in releases if r}
        pieces = [piece for piece in said if piece]
        return Chat("".join(pieces), release.rpartition("@")[2], len(pieces), began, time.monotonic())


class ChatStage(Stage):
    """A model whose replaced release is drained and stopped at once, with Open WebUI in front of it."""

    watch_minutes = 0

    def apply_chat(self):
        """As `platform/chat_ui` does, first and after each promotion."""
        cluster = self.engines.gateways.cluster
        cluster.apply(render_chat_ui(self.engines.profile, [self.spec]))
        cluster.wait_ready("chat-ui", READY_S)
        return cluster.endpoint("chat-ui")

    def pod(self):
        (pod,) = self.engines.gateways.cluster.list("Pod", {"app.kubernetes.io/name": "chat-ui"})
        return pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]


@pytest.fixture(scope="module")
def weather():
    server = WeatherServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stage(cluster_daemon, weather):
    install(folder_of(os.environ), find_python(os.environ), find_uv(os.environ))
    cluster = LocalCluster(cluster_daemon.url, cluster_daemon.world().cluster.namespace)
    settings = {"chat": "open-webui", "chat_secret": "open-webui", "weather_url": weather.url}
    stage = ChatStage(cluster, 1.0, **settings)
    cluster.apply(render_platform(stage.engines.profile))
    yield stage
    for kind in ("Service", "Deployment"):
        for found in cluster.list(kind):
            cluster.delete(kind, found["metadata"]["name"])


@pytest.fixture(scope="module")
def page(stage, cluster_daemon):
    """Open WebUI, signed in as its first account."""
    made = account(cluster_daemon.home)
    stage.engines.gateways.cluster.apply(render_chat_account(stage.engines.profile, made))
    return OpenWebUI(stage.apply_chat(), made["admin-email"], made["admin-password"])


def test_it_lists_the_model_and_its_agent_by_their_stable_names(page):
    assert page.models() == {"tiny", "tiny-agent"}


def test_it_lets_no_stranger_in(page):
    url = str(page.http.base_url)
    stranger = {"name": "x", "email": "x@example.com", "password": "a-long-password-1"}

    assert httpx.post(f"{url}/api/v1/auths/signup", json=stranger, trust_env=False).status_code == 403
    assert httpx.get(f"{url}/api/models", trust_env=False).status_code in (401, 403)


def test_the_models_answer_is_streamed_through_it(page, stage):
    said = page.chat("tiny", "Hello")

    assert said.text.startswith("Hello from the fake engine")
    assert said.pieces > 3
    assert said.release == stage.good.id


def test_through_it_the_agent_uses_its_tool(page, stage):
    said = page.chat("tiny-agent", "What is the weather in Paris?")

    assert f"{known_weather('Paris').celsius}" in said.text.partition("The tool says")[2]
    assert said.release == stage.good.id


def test_a_switch_beneath_it_fails_no_chat_and_leaves_it_running(page, stage):
    before, pod = stage.good, stage.pod()
    stage.break_engine(before, token_s=SLOW_TOKEN_S)
    with chatting(page, ("tiny", "tiny-agent", "tiny", "tiny-agent")) as (chats, failures):
        wait_for(lambda: len(chats) >= 4)
        after = stage.promote()
        stage.apply_chat()
        wait_for(lambda: sum(chat.release == after.id for chat in chats) >= 8)

    assert failures == []
    assert {chat.release for chat in chats} == {before.id, after.id}
    first_of_new = min(chat.ended for chat in chats if chat.release == after.id)
    assert any(chat.began < first_of_new < chat.ended for chat in chats if chat.release == before.id)  # in flight
    assert stage.engines.gateways.cluster.get("Deployment", before.object_name)["spec"]["replicas"] == 0
    assert stage.pod() == pod


def test_chats_with_an_agent_follow_a_switch_also_while_the_replaced_one_stays_warm(page, stage):
    stage.watch_minutes = 30
    before = stage.engines.traffic().on("tiny", "agent")
    with chatting(page, ("tiny-agent", "tiny-agent")) as (chats, failures):
        wait_for(lambda: len(chats) >= 4)
        after = stage.promote()
        wait_for(lambda: all(chat.release == after.id for chat in chats[-8:]))

    assert failures == []
    assert {chat.release for chat in chats} == {before, after.id}
    agents = stage.engines.gateways.cluster.list("Deployment", {"genai-pipeline/release": before})
    assert [deployment["spec"]["replicas"] for deployment in agents] == [1, 1]


@contextmanager
def chatting(page, models):
    """One client for each of these models, which asks again and again."""
    chats, failures, over = [], [], threading.Event()

    def ask(model):
        while not over.is_set():
            try:
                chats.append(page.chat(model, "Hello"))
            except (AssertionError, httpx.HTTPError, ValueError) as error:
                failures.append(f"{model}: {error!r}")

    clients = [threading.Thread(target=ask, args=(model,)) for model in models]
    for client in clients:
        client.start()
    try:
        yield chats, failures
    finally:
        over.set()
        for client in clients:
            client.join()


def wait_for(condition, deadline_s=120.0):
    end, pause = time.monotonic() + deadline_s, threading.Event()
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        pause.wait(0.1)
