"""SIGTERM with real load on a real process: what was accepted is answered, what comes later is told so."""

import json
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.fakes.scripted_model import Messages, Say, ScriptedModel, text_of
from tests.integration.agent.test_process import agent_process

REFUSED = "connection refused"


def echo(messages: Messages) -> Say:
    return Say(text_of(messages[-1]), wait_s=0.05)


class Load:
    """Clients that ask without a pause until nobody listens any more; what each request came to."""

    def __init__(self, url: str, clients: int) -> None:
        self.url, self.seen, self.lock, self.going = url, Counter[str](), threading.Lock(), threading.Event()
        self.pool = ThreadPoolExecutor(clients)
        kinds: list[Callable[[int], str]] = [self.on_a_new_connection, self.stream, self.on_a_kept_connection]
        self.kept = threading.local()
        self.running = [self.pool.submit(self.ask_on, kinds[i % 3]) for i in range(clients)]

    def ask_on(self, ask: Callable[[int], str]) -> None:
        number, outcome = 0, ""
        while outcome != REFUSED:
            number += 1
            try:
                outcome = ask(number)
            except httpx.ConnectError:
                outcome = REFUSED
            except httpx.HTTPError as error:
                outcome = f"LOST: {type(error).__name__}"
            with self.lock:
                self.seen[outcome] += 1
                if self.seen["answered"] == 50:
                    self.going.set()

    def on_a_new_connection(self, number: int) -> str:
        return outcome(httpx.post(f"{self.url}/agent", json={"prompt": f"n{number}"}, timeout=60), f"n{number}")

    def on_a_kept_connection(self, number: int) -> str:
        if not hasattr(self.kept, "http"):
            self.kept.http = httpx.Client(timeout=60)
        return outcome(self.kept.http.post(f"{self.url}/agent", json={"prompt": f"k{number}"}), f"k{number}")

    def stream(self, number: int) -> str:
        headers = {"Accept": "text/event-stream"}
        answer = httpx.post(f"{self.url}/agent", json={"prompt": f"s{number}"}, headers=headers, timeout=60)
        if answer.status_code != 200:
            return outcome(answer, "")
        last = answer.text.strip().split("\n\n")[-1]
        told = json.loads(last.partition("data: ")[2])
        return "answered" if told.get("response") == f"s{number}" else f"LOST: {last}"


def outcome(answer: httpx.Response, expected: str) -> str:
    if answer.status_code == 200:
        return "answered" if answer.json()["response"] == expected else f"LOST: {answer.text}"
    told = (answer.status_code, answer.json()["error"]["code"], answer.headers.get("Retry-After"))
    closes = answer.headers.get("connection") == "close"
    return "refused" if told == (503, "shutting_down", "1") and closes else f"LOST: {told}"


def test_under_load_no_request_that_was_accepted_is_lost():
    with ScriptedModel(echo) as model, agent_process(model.url) as (process, url):
        load = Load(url, clients=18)
        assert load.going.wait(60)
        process.send_signal(signal.SIGTERM)
        for client in load.running:
            client.result(timeout=60)
        assert process.wait(timeout=20) == 0

    assert [what for what in load.seen if what.startswith("LOST")] == []
    assert load.seen["answered"] >= 50
    assert load.seen[REFUSED] == 18


def test_a_kept_connection_brings_one_more_request_which_is_answered_and_closes_it():
    entered, go_on = threading.Event(), threading.Event()

    def script(messages: Messages) -> Say:
        if text_of(messages[-1]) == "hold":
            entered.set()
            go_on.wait(60)
        return Say(text_of(messages[-1]))

    with (
        ScriptedModel(script) as model,
        agent_process(model.url) as (process, url),
        httpx.Client(timeout=60) as kept,
        ThreadPoolExecutor(1) as others,
    ):
        kept.post(f"{url}/agent", json={"prompt": "first"})
        held = others.submit(httpx.post, f"{url}/agent", json={"prompt": "hold"}, timeout=60)
        assert entered.wait(60)
        process.send_signal(signal.SIGTERM)
        wait_until_it_leaves(url)
        last = kept.post(f"{url}/agent", json={"prompt": "last"})
        stranger = httpx.post(f"{url}/agent", json={"prompt": "new"}, timeout=60)
        go_on.set()
        assert held.result(timeout=60).status_code == 200
        assert process.wait(timeout=20) == 0

    assert (last.status_code, last.headers["connection"]) == (200, "close")
    assert outcome(stranger, "") == "refused"


def wait_until_it_leaves(url: str) -> httpx.Response:
    while (ready := httpx.get(f"{url}/readyz", timeout=60)).json().get("reason") != "The service is shutting down.":
        pass
    return ready


def test_a_stream_under_way_is_finished_and_the_service_is_not_ready_meanwhile():
    entered, go_on = threading.Event(), threading.Event()

    def script(messages: Messages) -> Say:
        entered.set()
        go_on.wait(60)
        return Say("to the end")

    with (
        ScriptedModel(script) as model,
        agent_process(model.url) as (process, url),
        httpx.Client(timeout=60) as http,
        http.stream("POST", f"{url}/agent", json={"prompt": "Hi"}, headers={"Accept": "text/event-stream"}) as stream,
    ):
        assert entered.wait(60)
        process.send_signal(signal.SIGTERM)
        ready = wait_until_it_leaves(url)
        go_on.set()
        events = stream.read().decode()
        assert process.wait(timeout=20) == 0

    assert ready.status_code == 503
    assert "event: done" in events
    assert "to the end" in events
