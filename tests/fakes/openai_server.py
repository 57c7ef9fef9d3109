"""A loopback engine without a model: speaks what vLLM speaks, and breaks on request.

In a test:

    with FakeEngine(model="m", root="s3://genai/models/m/abc/", faults=Faults(error_rate=0.5)) as engine:
        httpx.get(engine.url + "/v1/models")

As a process, with vLLM's own flags (those it does not know are ignored, like GPU settings):

    python -m tests.fakes.openai_server --port 8000 --model s3://b/models/m/ --served-model-name m --fault kv_cache=0.99

Faults can also come from the environment (`FAKE_ENGINE_FAULTS="broken,ttft_s=2"`) and be changed while it runs:
`engine.faults = Faults(...)`, or `POST /faults` with JSON. Standard library only, so that it starts in 0.1 s.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
CRASH_LOOP = "crash-loop"
"""A file in the folder that the process runs in."""
ENDPOINTS = {
    "generate": ("/v1/chat/completions", "/v1/completions"),
    "pooling": ("/v1/embeddings", "/v1/score", "/score"),
}
"""What there is depends on --runner: vLLM adds the routes of the tasks that its model supports."""
ANSWER = "Hello from the fake engine, how can I help you"


@dataclass(frozen=True)
class Faults:
    """What goes wrong. The defaults are a healthy engine.

    Args:
        exit_at_start: the process ends with status 1 before it listens.
        broken: completions answer 500, /health stays 200.
        unhealthy: /health answers 503.
        hang: completions never answer.
        drop: completions close the connection without an answer.
        error_rate: this fraction of completions answers 500, evenly spread.
        truncate: streams end in the middle, without their last chunk.
        serves: the model that /v1/models and completions name instead of the one asked for.
        root: where /v1/models says the model came from.
        raw_tool_calls: the call comes back as text, as with a wrong --tool-call-parser.
        refuse_extras: 400 for vLLM's own fields (ignore_eos, min_tokens).
        ttft_s, token_s: delay before the first token and between tokens.
        max_running: more requests than this wait in the queue.
        kv_cache, waiting: what /metrics says instead of the truth.
        metrics: ok, down (503), missing (names of an old vLLM), frozen (counters stand still), inflated (ten times).
        engine_ttft_s: what /metrics says every first token took.
        thinks: tokens of thoughts before the answer.
        thoughts_in: the field that has them: reasoning, reasoning_content (older), or content (no reasoning parser).
        vector: what embeddings are: ok, null (NaN, as some servers write it), zeros, empty.
        score: the score of every pair; a text that is no number comes back as null.
        pooled_apart: query and document of a score are two requests inside the engine, as with a bi-encoder.
        crash_loop: the process ends with status 1, and again whenever it is started in the same folder.
    """

    exit_at_start: bool = False
    broken: bool = False
    unhealthy: bool = False
    hang: bool = False
    drop: bool = False
    error_rate: float = 0.0
    truncate: bool = False
    serves: str = ""
    root: str = ""
    raw_tool_calls: bool = False
    refuse_extras: bool = False
    ttft_s: float = 0.002
    token_s: float = 0.0
    max_running: int = 256
    kv_cache: float | None = None
    waiting: int | None = None
    metrics: str = "ok"
    engine_ttft_s: float | None = None
    thinks: int = 0
    thoughts_in: str = "reasoning"
    vector: str = "ok"
    score: float | str = 0.75
    pooled_apart: bool = False
    crash_loop: bool = False

    @classmethod
    def parse(cls, words: list[str]) -> Faults:
        """`["broken", "ttft_s=2"]` as faults."""
        values: dict[str, Any] = {}
        known = {f.name for f in fields(cls)}
        for word in filter(None, words):
            name, _, value = word.partition("=")
            if name not in known:
                raise SystemExit(f"no fault {name!r}; there are: {', '.join(sorted(known))}")
            try:
                values[name] = json.loads(value) if value else True
            except ValueError:
                values[name] = value
        return cls(**values)


@dataclass
class Counters:
    prompt_tokens: int = 0
    generation_tokens: int = 0
    finished: dict[str, int] = field(default_factory=lambda: {"stop": 0, "length": 0, "abort": 0})
    running: int = 0
    waiting: int = 0
    ttft: list[float] = field(default_factory=list)
    gaps: dict[float, int] = field(default_factory=dict)
    responses: dict[tuple[str, str], int] = field(default_factory=dict)


class FakeEngine:
    """One engine on a free loopback port. `requests` holds every question's body as it was sent."""

    def __init__(
        self,
        model: str = "model",
        root: str = "",
        faults: Faults = Faults(),
        host: str = "127.0.0.1",
        port: int = 0,
        metrics_prefix: str = "vllm:",
        aliases: tuple[str, ...] = (),
        runner: str = "generate",
    ) -> None:
        self.aliases = aliases
        self.endpoints = ENDPOINTS["pooling" if runner == "pooling" else "generate"]
        self.model, self.root, self.faults, self.metrics_prefix = model, root or model, faults, metrics_prefix
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        self.counters = Counters()
        self.lock = threading.Condition()
        self.stopped = threading.Event()
        self.seen = 0
        self.started_at = time.time()
        self._server = _Server((host, port), _Handler)
        self._server.engine = self
        self.url = f"http://{host}:{self._server.server_port}"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.faults.serves,) if self.faults.serves else (self.model, *self.aliases)

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def start(self) -> FakeEngine:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening and cut every open connection, as a killed engine does."""
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_connections()

    def __enter__(self) -> FakeEngine:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Wait in the queue, then hold a place among the running."""
        with self.lock:
            self.counters.waiting += 1
            self.lock.wait_for(lambda: self.counters.running < self.faults.max_running, timeout=60)
            self.counters.waiting -= 1
            self.counters.running += 1
        try:
            yield
        finally:
            with self.lock:
                self.counters.running -= 1
                self.lock.notify_all()

    def finished(self, prompt_tokens: int, tokens: int, reason: str, requests: int = 1) -> None:
        with self.lock:
            self.counters.prompt_tokens += prompt_tokens
            self.counters.generation_tokens += tokens
            self.counters.finished["stop" if reason == "tool_calls" else reason] += requests
            gaps, gap = self.counters.gaps, self.faults.token_s
            gaps[gap] = gaps.get(gap, 0) + tokens

    def answered(self, path: str, status: int) -> None:
        """A question was answered, as the API server counts it."""
        with self.lock:
            name = path, f"{status // 100}xx"
            self.counters.responses[name] = self.counters.responses.get(name, 0) + 1

    def fails_now(self) -> bool:
        with self.lock:
            self.seen += 1
            rate = self.faults.error_rate
            return self.faults.broken or int(self.seen * rate) != int((self.seen - 1) * rate)

    def metrics_text(self) -> str:
        faults = self.faults
        with self.lock:
            c = replace(self.counters, finished=dict(self.counters.finished), ttft=list(self.counters.ttft))
            gaps, responses = dict(c.gaps), dict(c.responses)
        factor = {"frozen": 0, "inflated": 10}.get(faults.metrics, 1)
        ttft = [faults.engine_ttft_s if faults.engine_ttft_s is not None else s for s in c.ttft] * min(factor, 1)
        usage = faults.kv_cache if faults.kv_cache is not None else min(1.0, 0.01 * c.running)
        p, labels = self.metrics_prefix, f'engine="0",model_name="{self.model}"'
        kv = "gpu_cache_usage_perc" if faults.metrics == "missing" else "kv_cache_usage_perc"
        waiting = c.waiting if faults.waiting is None else faults.waiting
        lines = _samples("gauge", p + kv, {labels: usage})
        lines += _samples("gauge", p + "num_requests_running", {labels: c.running})
        lines += _samples("gauge", p + "num_requests_waiting", {labels: waiting})
        lines += _samples("counter", p + "prompt_tokens", {labels: c.prompt_tokens * factor})
        lines += _samples("counter", p + "generation_tokens", {labels: c.generation_tokens * factor})
        reasons = {f'{labels},finished_reason="{reason}"': n * factor for reason, n in c.finished.items()}
        lines += _samples("counter", p + "request_success", reasons)
        name = p + "time_to_first_token_seconds"
        lines += [f"# TYPE {name} histogram"]
        lines += [f'{name}_bucket{{{labels},le="{b}"}} {sum(s <= b for s in ttft)}' for b in BUCKETS]
        lines += [f'{name}_bucket{{{labels},le="+Inf"}} {len(ttft)}']
        lines += [f"{name}_count{{{labels}}} {len(ttft)}", f"{name}_sum{{{labels}}} {sum(ttft)}"]
        name = p + "inter_token_latency_seconds"
        lines += [f"# TYPE {name} histogram"]
        lines += [
            f'{name}_bucket{{{labels},le="{b}"}} {sum(n for s, n in gaps.items() if s <= b) * min(factor, 1)}'
            for b in BUCKETS
        ]
        lines += [f'{name}_bucket{{{labels},le="+Inf"}} {sum(gaps.values()) * min(factor, 1)}']
        by_status = {
            f'handler="{path}",method="POST",status="{status}"': n * factor for (path, status), n in responses.items()
        }
        lines += _samples("counter", "http_requests", by_status)
        lines += _samples("gauge", "process_start_time_seconds", {'job="engine"': self.started_at})
        return "\n".join(lines) + "\n"


def _samples(kind: str, name: str, values: dict[str, float]) -> list[str]:
    sample = f"{name}_total" if kind == "counter" else name
    return [f"# TYPE {name} {kind}", *(f"{sample}{{{labels}}} {value}" for labels, value in values.items())]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    engine: FakeEngine

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        self.engine.connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    @property
    def engine(self) -> FakeEngine:
        return self.server.engine

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        engine, faults = self.engine, self.engine.faults
        if self.path == "/health":
            self._reply(503 if faults.unhealthy else 200, b"")
        elif self.path == "/v1/models":
            card = {"object": "model", "root": faults.root or engine.root, "owned_by": "fake", "max_model_len": 2048}
            self._json(200, {"object": "list", "data": [{"id": name} | card for name in engine.names]})
        elif self.path == "/metrics":
            if faults.metrics == "down":
                self._reply(503, b"metrics are down")
            else:
                self._reply(200, engine.metrics_text().encode(), "text/plain; version=0.0.4; charset=utf-8")
        else:
            self._error(404, "Not Found")

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        except ValueError:
            return self._error(400, "the body is not JSON")
        if self.path == "/faults":
            self.engine.faults = Faults(**body)
            if self.engine.faults.crash_loop:
                open(CRASH_LOOP, "w").close()
                os._exit(1)
            return self._json(200, asdict(self.engine.faults))
        if self.path not in self.engine.endpoints:
            return self._error(404, "Not Found")
        self._status = 0
        self._ask(body)
        if self._status:
            self.engine.answered(self.path, self._status)
        return None

    def _ask(self, body: dict[str, Any]) -> None:
        engine, faults = self.engine, self.engine.faults
        engine.requests.append(body)
        if faults.hang:
            engine.stopped.wait()
            return self._drop()
        if faults.drop:
            return self._drop()
        if engine.fails_now():
            return self._error(500, "EngineCore encountered an issue. See stack trace (above) for the root cause.")
        if body.get("model") not in engine.names and self.path not in ENDPOINTS["pooling"]:
            return self._error(404, f"The model `{body.get('model')}` does not exist.")
        if faults.refuse_extras and {"ignore_eos", "min_tokens"} & body.keys():
            return self._error(400, "Extra inputs are not permitted: ignore_eos")
        started = time.perf_counter()
        with engine.admitted():
            engine.stopped.wait(faults.ttft_s)
            apart = 2 if faults.pooled_apart and "score" in self.path else 1
            with engine.lock:
                engine.counters.ttft += [time.perf_counter() - started] * apart
            if self.path in ENDPOINTS["pooling"]:
                return self._pooled(body, apart)
            answer = _answer(body, faults)
            send = self._stream if body.get("stream") else self._whole
            return send(body, answer)

    def _pooled(self, body: dict[str, Any], requests: int) -> None:
        """One embedding or one score, by the first served name, whatever name was asked for: so does vLLM.

        It counts prompt tokens and the time to the only output, and nothing else.
        """
        faults, embeds = self.engine.faults, self.path.endswith("/embeddings")
        texts = [body["input"]] if embeds else [body["queries"], body["documents"]]
        prompt_tokens = sum(2 + len(text.split()) for text in texts)
        score = faults.score if isinstance(faults.score, float) else None
        part = {"embedding": _vector(texts[0], faults.vector)} if embeds else {"score": score}
        usage = Answer("", [], "", prompt_tokens, 0).usage | {"prompt_tokens_details": None}
        self.engine.finished(prompt_tokens, 0, "stop", requests)
        data = [{"index": 0, "object": next(iter(part))} | part]
        frame = self._frame("list", body | {"model": self.engine.names[0]})
        self._json(200, frame | {"data": data, "usage": usage})

    @property
    def _is_chat(self) -> bool:
        return self.path == "/v1/chat/completions"

    def _frame(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """The fingerprint tells which release answered."""
        said = {"id": "chatcmpl-1", "object": kind, "created": 0, "model": body["model"]}
        return said | {"system_fingerprint": self.engine.names[-1]}

    def _text_completion(self, text: str, reason: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason, "stop_reason": None}

    def _whole(self, body: dict[str, Any], answer: Answer) -> None:
        self.engine.stopped.wait(self.engine.faults.token_s * answer.tokens)
        self.engine.finished(answer.prompt_tokens, answer.tokens, answer.reason)
        message = {"role": "assistant", "content": answer.text or None, "tool_calls": answer.tool_calls}
        if answer.thoughts:
            message[self.engine.faults.thoughts_in] = answer.thoughts
        choice = {"index": 0, "message": message, "finish_reason": answer.reason}
        frame = self._frame("chat.completion" if self._is_chat else "text_completion", body)
        if not self._is_chat:
            choice = self._text_completion(answer.text, answer.reason)
        self._json(200, frame | {"choices": [choice], "usage": answer.usage})

    def _stream(self, body: dict[str, Any], answer: Answer) -> None:
        faults = self.engine.faults
        frame = self._frame("chat.completion.chunk" if self._is_chat else "text_completion", body)

        def event(delta: dict[str, Any], reason: str | None = None) -> bytes:
            if not self._is_chat:
                return _sse(frame | {"choices": [self._text_completion(delta.get("content", ""), reason)]})
            return _sse(frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

        words = answer.text.split(" ") if answer.text else []
        events = [event({faults.thoughts_in: f"{word} "}) for word in answer.thoughts.split()]
        events += [event({"content": word if i == 0 else f" {word}"}) for i, word in enumerate(words)]
        events += [event({"tool_calls": [call | {"index": i}]}) for i, call in enumerate(answer.tool_calls)]
        if faults.truncate:
            events = events[: len(events) // 2]
        self._status = 200
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.wfile.write(head + (_chunk(event({"role": "assistant", "content": ""})) if self._is_chat else b""))
        for data in events:
            self.engine.stopped.wait(faults.token_s) if faults.token_s else None
            self.wfile.write(_chunk(data))
        if faults.truncate:
            self._drop()
            return
        self.engine.finished(answer.prompt_tokens, answer.tokens, answer.reason)
        tail = event({}, answer.reason)
        if (body.get("stream_options") or {}).get("include_usage"):
            tail += _sse(frame | {"choices": [], "usage": answer.usage})
        self.wfile.write(_chunk(tail + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    def _json(self, status: int, value: Any) -> None:
        self._reply(status, json.dumps(value).encode(), "application/json")

    def _error(self, status: int, message: str) -> None:
        self._json(status, {"error": {"message": message, "type": "Error", "param": None, "code": status}})

    def _reply(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        """Head and body in one packet: two would cost 44 ms by Nagle and delayed ACK."""
        self._status = status
        head = f"HTTP/1.1 {status} -\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def _drop(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)


@dataclass
class Answer:
    text: str
    tool_calls: list[dict[str, Any]]
    reason: str
    prompt_tokens: int
    tokens: int
    thoughts: str = ""

    @property
    def usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.tokens, "total_tokens": total}


def _answer(body: dict[str, Any], faults: Faults) -> Answer:
    answer = _answer_at_once(body, faults)
    if not faults.thinks:
        return answer
    thoughts = " ".join(["hm"] * min(faults.thinks, _limit(body)))
    left = _limit(body) - faults.thinks
    if left < (answer.tokens if answer.tool_calls else 1):
        answer = Answer("", [], "length", answer.prompt_tokens, _limit(body), thoughts)
    else:
        text = " ".join(answer.text.split()[:left])
        answer = replace(answer, text=text, tokens=min(answer.tokens, left) + faults.thinks, thoughts=thoughts)
    if faults.thoughts_in != "content":
        return answer
    end = "</think>\n\n" if left > 0 else ""
    return replace(answer, text=f"<think>\n{answer.thoughts}\n{end}{answer.text}", thoughts="")


def _vector(text: str, kind: str) -> list[float | None]:
    """Four numbers, the same for the same text."""
    if kind != "ok":
        return {"null": [None] * 4, "zeros": [0.0] * 4, "empty": []}[kind]
    return [(sum(text.encode()) * factor % 97) / 97 - 0.4 for factor in (3, 5, 7, 11)]


def _limit(body: dict[str, Any]) -> int:
    return body.get("max_completion_tokens") or body.get("max_tokens") or 64


def _answer_at_once(body: dict[str, Any], faults: Faults) -> Answer:
    messages = body.get("messages") or [{"role": "user", "content": body["prompt"]}]
    prompt_tokens = 4 + sum(len(str(message.get("content") or "").split()) for message in messages)
    limit = _limit(body)
    call = _tool_call(messages, body.get("tools") or [])
    if call and faults.raw_tool_calls:
        text = f"[TOOL_CALLS]{call['name']}[ARGS]{json.dumps(call['arguments'])}"
        return Answer(text, [], "stop", prompt_tokens, 8)
    if call:
        function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
        return Answer(
            "", [{"id": "call12345", "type": "function", "function": function}], "tool_calls", prompt_tokens, 8
        )
    words = (f"The tool says: {_text(messages[-1])}" if messages[-1]["role"] == "tool" else ANSWER).split()
    reason = "length" if len(words) > limit or body.get("ignore_eos") else "stop"
    words = (words * (limit // len(words) + 1))[:limit] if reason == "length" else words
    return Answer(" ".join(words), [], reason, prompt_tokens, len(words))


def _tool_call(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A call of the tool whose name the last user message mentions; none once a tool has answered."""
    if not tools or messages[-1]["role"] != "user":
        return None
    asked = _text(messages[-1])
    for tool in tools:
        function = tool["function"]
        if not any(word in asked.lower() for word in ("weather", "time") if word in function["name"]):
            continue
        place = re.search(r"\b(?:in|for|at) ([\w/' -]+)", asked)
        names = list(function.get("parameters", {}).get("properties", {}))[:1]
        return {"name": function["name"], "arguments": dict.fromkeys(names, place[1] if place else "Paris")}
    return None


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in content)


def _sse(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="model", help="where the weights are; also the name without the next")
    parser.add_argument("--served-model-name", nargs="+", default=[])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--runner", default="auto")
    parser.add_argument("--middleware", action="append", help="serve by uvicorn, as vLLM does, with this around it")
    parser.add_argument("--shutdown-timeout", type=float, default=0)
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[=VALUE]")
    args, _ = parser.parse_known_args()
    faults = Faults.parse(os.environ.get("FAKE_ENGINE_FAULTS", "").split(",") + args.fault)
    if os.path.exists(CRASH_LOOP):
        sys.exit("RuntimeError: the fake engine was told to crash again and again")
    if faults.exit_at_start:
        sys.exit("ValueError: the fake engine was told to exit at start")
    names = args.served_model_name or [args.model]
    if args.middleware:
        from asgi_engine import serve  # lies beside this file; uvicorn is not everywhere

        with FakeEngine(names[0], args.model, faults, "127.0.0.1", 0, "vllm:", tuple(names[1:]), args.runner) as behind:
            return serve(behind, args)
    engine = FakeEngine(names[0], args.model, faults, args.host, args.port, "vllm:", tuple(names[1:]), args.runner)
    print(f"listening on {engine.url}", flush=True)  # noqa: T201
    with suppress(KeyboardInterrupt):
        engine.serve()
    return None


if __name__ == "__main__":
    main()
