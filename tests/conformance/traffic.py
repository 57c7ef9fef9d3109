"""Endpoints, switches, draining. These cases run for every way to reach a Service.

`serving` is a World in which Deployment and Service `m` have answered; cases that only ask may share one.
"""

from __future__ import annotations

import collections
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from genai_pipeline.core.errors import NotFound
from tests.conformance.world import World, until

LET_END = {"preStop": {"sleep": {"seconds": 1}}}
"""A pod that is to end goes on answering while the rest of the cluster hears of it."""


class Load:
    """Requests from a few threads until it is left; `failures` and `answers` tell what came of them."""

    def __init__(self, send: Callable[[httpx.Client], str], threads: int = 2) -> None:
        self.answers: list[list[str]] = [[] for _ in range(threads)]
        self.failures: list[str] = []
        self._over = threading.Event()
        self._send = send
        self._threads = [threading.Thread(target=self._run, args=(answers,)) for answers in self.answers]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        return sum(map(len, self.answers))

    def all_say(self, text: str) -> bool:
        return all(answers and answers[-1] == text for answers in self.answers)

    @property
    def never_went_back(self) -> bool:
        """Blue before green for each client: nobody sees the old release again."""
        return all(answers == sorted(answers) for answers in self.answers)

    def _run(self, answers: list[str]) -> None:
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not self._over.wait(0.003):
                try:
                    answers.append(self._send(client))
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))


def blue_and_green(world: World, lifecycle: Mapping[str, Any] = LET_END) -> str:
    """Two Deployments up, the Service at the blue one."""
    blue, green = (world.deployment(name, says=name, lifecycle=lifecycle) for name in ("blue", "green"))
    world.up(blue, green, world.service("m", app="blue"))
    until(lambda: world.says() == "blue")
    return world.cluster.endpoint("m")


def cut_over(world: World, load: Load) -> None:
    """Switch, then end the old release while requests go on."""
    until(lambda: load.count > 20)
    world.up(world.service("m", app="green"))
    until(lambda: load.all_say("green"))
    world.cluster.scale("blue", 0)
    world.cluster.wait_gone({"app": "blue"}, 30)
    enough = load.count + 20
    until(lambda: load.count > enough)


def test_a_switch_fails_no_request_on_new_connections(world: World) -> None:
    url = blue_and_green(world)

    def send(client: httpx.Client) -> str:
        return client.get(url, headers={"Connection": "close"}).raise_for_status().text

    with Load(send) as load:
        cut_over(world, load)

    assert load.failures == []
    assert load.never_went_back


def test_a_stream_in_flight_finishes_on_the_pod_where_it_began(world: World) -> None:
    url = blue_and_green(world)
    with world.http.stream("GET", f"{url}/stream?n=40&s=0.05") as answer:
        lines = answer.iter_lines()
        first = next(lines)
        world.up(world.service("m", app="green"))
        until(lambda: world.says() == "green")
        rest = list(lines)

    assert [first, *rest] == [f"blue {i}" for i in range(40)]


def test_a_stream_in_flight_ends_in_peace_when_its_pod_is_asked_to_stop(world: World) -> None:
    hook = {"preStop": {"sleep": {"seconds": 2}}}
    world.up(world.deployment(lifecycle=hook), world.service())
    until(world.says)
    with world.http.stream("GET", f"{world.cluster.endpoint('m')}/stream?n=20&s=0.05") as answer:
        lines = answer.iter_lines()
        first = next(lines)
        world.cluster.scale("m", 0)
        rest = list(lines)

    assert [first, *rest] == [f"one {i}" for i in range(20)]
    world.cluster.wait_gone({"app": "m"}, 30)


def test_a_stream_comes_piece_by_piece(serving: World) -> None:
    """The server holds the second piece back until the first has been seen here."""
    url = serving.cluster.endpoint("m")
    with serving.http.stream("GET", f"{url}/held") as answer:
        pieces = answer.iter_raw()
        first = next(pieces)
        serving.http.post(f"{url}/release")
        rest = b"".join(pieces)

    assert (first, rest) == (b"first", b"second")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_every_method_passes_with_its_body_and_query(serving: World, method: str) -> None:
    body = b"x" * 300_000

    answer = serving.http.request(method, f"{serving.cluster.endpoint('m')}/mirror/a%20b?c=d&e", content=body)

    told = answer.json()
    assert (answer.status_code, told["method"], told["path"]) == (200, method, "/mirror/a%20b?c=d&e")
    assert told["bytes"] == len(body)


def test_a_body_of_unknown_length_passes_whole(serving: World) -> None:
    pieces = (b"x" * size for size in (1, 100_000, 7))

    answer = serving.http.post(f"{serving.cluster.endpoint('m')}/mirror", content=pieces)

    assert answer.json()["bytes"] == 100_008


def test_a_connection_serves_many_requests_and_errors_come_as_they_are(serving: World) -> None:
    url = httpx.URL(serving.cluster.endpoint("m"))

    with socket.create_connection((url.host, url.port or 80), timeout=10) as client, client.makefile("rb") as lines:
        for status in (404, 200, 500):
            client.sendall(b"GET /status/%d HTTP/1.1\r\nHost: m\r\n\r\n" % status)
            head = iter(lines.readline, b"\r\n")
            assert next(head).split()[1] == b"%d" % status
            length = next(int(h.split(b":")[1]) for h in head if h.lower().startswith(b"content-length"))
            collections.deque(head, maxlen=0)
            assert lines.read(length) == b"%d" % status


def test_endpoint_of_what_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        world.cluster.endpoint("nothing")
    world.cluster.apply([world.service()])
    with pytest.raises(NotFound, match="9999"):
        world.cluster.endpoint("m", 9999)
