"""Which source answers on one machine: the engine itself, or a Prometheus that may be there."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading, Metrics
from genai_pipeline.gateways.metrics.laptop_metrics import REMEMBERED_S, MetricsOfOneMachine
from genai_pipeline.local.ports import free_port
from tests.fakes.listening import Listening


class Source(Metrics):
    """Answers with as many running requests as its name says."""

    def __init__(self, running: int, refuses: bool = False) -> None:
        self.running, self.refuses = running, refuses

    def read(self, base_url: str) -> EngineMetrics:
        if self.refuses:
            raise EngineUnavailable("not scraped", "")
        return EngineMetrics(0, self.running, 0, 0, 0, 0, {})

    def gpus(self, base_url: str) -> list[GpuReading]:
        return [GpuReading(str(self.running), 0, 0, 0)]


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def ready() -> Iterator[str]:
    with Listening(Ready) as listening:
        yield listening.address


ENGINE, PROMETHEUS = 1, 2


def laptop(url: str, pods: int, refuses: bool = False) -> MetricsOfOneMachine:
    return MetricsOfOneMachine(url, Source(ENGINE), Source(PROMETHEUS, refuses), lambda _: pods)


def test_one_pod_is_asked_itself_and_several_through_prometheus(ready: str):
    assert laptop(ready, pods=1).read("http://e").running == ENGINE
    assert laptop(ready, pods=2).read("http://e").running == PROMETHEUS


def test_how_many_pods_there_are_is_asked_now_and_then_and_not_each_time(ready: str):
    asked: list[str] = []
    clock = [100.0]

    def pods(url: str) -> int:
        asked.append(url)
        return len(asked)

    metrics = MetricsOfOneMachine(ready, Source(ENGINE), Source(PROMETHEUS), pods, lambda: clock[0])
    seen = [metrics.read("http://e").running for _ in range(3)]
    clock[0] += REMEMBERED_S
    seen.append(metrics.read("http://e").running)

    assert seen == [ENGINE, ENGINE, ENGINE, PROMETHEUS]
    assert len(asked) == 2


def test_the_watch_reads_in_prometheus_and_gpus_are_only_there(ready: str):
    assert laptop(ready, pods=1).latest("http://e").running == PROMETHEUS
    assert laptop(ready, pods=1).gpus("http://e")[0].gpu == str(PROMETHEUS)


def test_an_engine_that_was_not_scraped_yet_is_asked_itself(ready: str):
    assert laptop(ready, pods=1, refuses=True).latest("http://e").running == ENGINE


def test_figures_of_several_pods_are_not_replaced_by_those_of_one(ready: str):
    with pytest.raises(EngineUnavailable):
        laptop(ready, pods=2, refuses=True).read("http://e")


def test_without_a_prometheus_that_answers_every_engine_is_asked_itself():
    away = f"http://127.0.0.1:{free_port()}"

    assert laptop(away, pods=2).read("http://e").running == ENGINE
    assert laptop(away, pods=2).latest("http://e").running == ENGINE
    assert laptop(away, pods=2).gpus("http://e")[0].gpu == str(ENGINE)
