"""An OpenAI-compatible endpoint that misbehaves, byte by byte, on a real socket.

    with WildModel(lambda talk: talk.stream(text("Hel"), stall=True)) as model: ...    # model.url

Each completion is one `Talk`; what a talk leaves open is closed when its behaviour returns.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self

from tests.fakes.http_wire import ConnectionEnded, Head, Wire

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}

Event = dict[str, Any] | bytes


def delta(finish: Any = None, **parts: Any) -> dict[str, Any]:
    """A chunk. `delta(content="Hi")`, `delta("stop")`."""
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": finish}]}


def text(words: str) -> dict[str, Any]:
    return delta(content=words)


def call(name: Any, arguments: Any = "{}", call_id: Any = "call1", index: Any = 0) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return delta(tool_calls=[{"index": index, "id": call_id, "type": "function", "function": function}])


class Talk:
    """One completion that was asked for."""

    def __init__(self, wire: Wire, body: dict[str, Any], stopped: threading.Event) -> None:
        self._wire, self.body, self.stopped = wire, body, stopped

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]

    @property
    def last(self) -> str:
        """The text of the last message."""
        content = self.messages[-1].get("content") or ""
        return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)

    @property
    def answers_a_tool(self) -> bool:
        return self.messages[-1]["role"] == "tool"

    def raw(self, data: bytes) -> None:
        self._wire.send(data)

    def error(self, status: int, message: str = "no") -> None:
        body = json.dumps({"error": {"message": message}}).encode()
        self.raw(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: close\r\n" % status)
        self.raw(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def stream(self, *events: Event, stall: bool = False, done: bool = True, headers: bytes = HEADERS) -> None:
        """Send the events, and then end properly, or say nothing more (`stall`), or break off (`done=False`)."""
        self.raw(headers + b"\r\n")
        self.send(events)
        if stall:
            self.wait()
        elif done:
            self.send([USAGE, b"data: [DONE]\n\n"])

    def send(self, events: Iterable[Event]) -> None:
        for event in events:
            known = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
            self.raw(event if isinstance(event, bytes) else b"data: %b\n\n" % json.dumps(known | event).encode())

    def for_ever(self, event: Event, pause_s: float = 0.0) -> None:
        """Until the client leaves or the test is over."""
        while not self.stopped.wait(pause_s):
            self.send([event])

    def reset(self) -> None:
        self._wire.reset()

    def wait(self) -> None:
        """Say nothing until the client leaves or the test is over."""
        while not self.stopped.is_set() and not self.has_left():
            pass

    def has_left(self) -> bool:
        """Return whether the client closes its connection within a moment."""
        self._wire.socket.settimeout(0.05)
        try:
            return not self._wire.socket.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True


class WildModel:
    """Serves the model `name` on a free loopback port. `asked` counts completions, probes of one token apart."""

    def __init__(self, behave: Callable[[Talk], Any], name: str = "scripted", host: str = "127.0.0.1") -> None:
        self.behave, self.name = behave, name
        self.asked: list[dict[str, Any]] = []
        self.probes = 0
        self.stopped = threading.Event()
        self._listener = socket.create_server((host, 0), backlog=256)
        self.url = f"http://{host}:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[Wire(connection)], daemon=True).start()

    def _serve(self, wire: Wire) -> None:
        with suppress(OSError, ConnectionEnded):
            head = wire.read_head()
            if head is not None:
                self._answer(wire, head)
        with suppress(OSError):
            wire.socket.close()

    def _answer(self, wire: Wire, head: Head) -> None:
        if head.first_line.startswith("GET"):
            body = json.dumps({"object": "list", "data": [{"id": self.name, "object": "model"}]}).encode()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
            wire.send(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        talk = Talk(wire, json.loads(wire.read(head.length or 0)), self.stopped)
        if talk.body.get("max_tokens") == 1:
            self.probes += 1
        else:
            self.asked.append(talk.body)
        self.behave(talk)
