"""What the agent's service adds to the Strands loop it serves, and what many sessions at once cost.

The service, the model and the bare loop are processes of their own, on one machine in one run. The model is a fake
that answers after a fixed time and says when it sent its first byte.

    python benchmarks/agent.py
    python benchmarks/agent.py --requests 500 --sessions 200 --out agent.json

`overhead`: a question over HTTP against the same question to a Strands agent that is called directly. The two take
turns, so that the machine's other work is in both. `first byte`: from the model's first text on the wire until the
service's first text, by the machine's one clock. `RSS`: of the service's process, after each number of sessions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[1]
TARGETS = {"p50_ms": 15.0, "p99_ms": 40.0, "rss_base_mb": 300.0, "rss_session_mb": 1.0, "first_byte_ms": 30.0}
SETTLED_S = 120


# ---- the processes


async def model(port: int, latency_s: float) -> None:
    """Streams five words, the first after `latency_s`; the last carries when the first was sent."""
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        if scope["method"] == "GET":
            await reply(send, b"application/json", b'{"object": "list", "data": [{"id": "fake", "object": "model"}]}')
            return
        await asyncio.sleep(latency_s)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        sent_at = time.monotonic()
        for word in (f"{sent_at:.6f}", " how", " are", " you", " today"):
            await part(send, chunk({"content": word}))
        usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}}
        await part(send, chunk({}, "stop") + f"data: {json.dumps(usage)}\n\ndata: [DONE]\n\n".encode(), more=False)

    async def reply(send: Any, kind: bytes, body: bytes) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await part(send, body, more=False)

    async def part(send: Any, body: bytes, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": more})

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        event = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "fake"}
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return f"data: {json.dumps(event | {'choices': choices})}\n\n".encode()

    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", access_log=False)).serve()


def bare_loop(url: str) -> None:
    """A new Strands agent for each line read, as the service makes one for each session; writes the seconds it took."""
    from openai import AsyncOpenAI
    from strands import Agent
    from strands.models.openai import OpenAIModel

    from genai_pipeline.agent.settings import SYSTEM_PROMPT
    from genai_pipeline.agent.tools.builtin import build_tools
    from genai_pipeline.agent.tools.weather import WeatherService

    async def loop() -> None:
        client = AsyncOpenAI(base_url=url, api_key="none")
        named = OpenAIModel(client=client, model_id="fake", params={"temperature": 0.0, "max_tokens": 256})
        tools = build_tools(WeatherService("http://127.0.0.1:9", 1.0))
        while prompt := (await asyncio.to_thread(sys.stdin.readline)).strip():
            began = time.perf_counter()
            agent = Agent(model=named, tools=tools, system_prompt=SYSTEM_PROMPT, callback_handler=None)
            await agent.invoke_async(prompt)
            print(time.perf_counter() - began, flush=True)

    asyncio.run(loop())


@contextmanager
def process(*arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    known = os.environ | {"PYTHONPATH": str(ROOT)} | env
    started = subprocess.Popen([sys.executable, *arguments], env=known, cwd=ROOT, **pipes)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until_ok(url: str) -> float:
    """Seconds until it answers 200."""
    began = time.monotonic()
    while time.monotonic() - began < SETTLED_S:
        try:
            if httpx.get(url, timeout=10).status_code == 200:
                return time.monotonic() - began
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
    raise TimeoutError(f"{url} did not answer 200 within {SETTLED_S} s")


# ---- what is measured


def overheads(url: str, bare: subprocess.Popen[str], requests: int, warm_up: int = 10) -> list[tuple[float, float]]:
    """Seconds of each question over HTTP, and of its twin to the bare loop."""
    pairs: list[tuple[float, float]] = []
    assert bare.stdin
    assert bare.stdout
    with httpx.Client(timeout=60) as client:
        for number in range(warm_up + requests):
            began = time.perf_counter()
            client.post(f"{url}/agent", json={"prompt": f"Hello {number}"}).raise_for_status()
            served = time.perf_counter() - began
            bare.stdin.write(f"Hello {number}\n")
            bare.stdin.flush()
            pairs.append((served, float(bare.stdout.readline())))
    return pairs[warm_up:]


async def many_sessions(url: str, pid: int, sessions: int, turns: int) -> dict[str, Any]:
    """All at once, each `turns` times. Errors, the time to the first byte beyond the model's, and RSS."""
    service, rss = psutil.Process(pid), {0: _mb(psutil.Process(pid))}
    delays: list[float] = []
    errors: list[str] = []
    limits = httpx.Limits(max_connections=sessions)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        for count in (sessions // 4, sessions):
            for _ in range(turns):
                answers = await asyncio.gather(*(_session(client, url, i) for i in range(count)))
                errors += [error for _, error in answers if error]
            rss[count] = _mb(service)
        for number in range(50):  # one at a time: how long the text itself takes, not how long it waits for a core
            delay, error = await _session(client, url, number)
            (errors.append(error) if error else delays.append(delay))
    return {"rss_mb": rss, "errors": errors, "first_byte_s": delays}


async def _session(client: httpx.AsyncClient, url: str, number: int) -> tuple[float, str]:
    """Seconds between the model's first byte and the service's, and what went wrong."""
    body = {"prompt": "Hello", "session_id": f"benchmark-session-{number:06d}"}
    text, first = "", 0.0
    headers = {"Accept": "text/event-stream"}
    try:
        async with client.stream("POST", f"{url}/agent", json=body, headers=headers) as answer:
            kind = ""
            async for line in answer.aiter_lines():
                kind = line.removeprefix("event: ") if line.startswith("event: ") else kind
                if kind == "delta" and line.startswith("data: "):
                    first = first or time.monotonic()
                    text += json.loads(line.removeprefix("data: "))["text"]
                elif kind == "error" and line.startswith("data: "):
                    return 0.0, line
            if answer.status_code != 200 or not text:
                return 0.0, f"HTTP {answer.status_code}, {text!r}"
    except httpx.HTTPError as error:
        return 0.0, repr(error)
    return first - float(text.split()[0]), ""


def _mb(of: psutil.Process) -> float:
    return of.memory_info().rss / 2**20


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


# ---- the run


def run(options: argparse.Namespace) -> dict[str, Any]:
    model_port, port = free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(process(__file__, "--model", str(model_port), "--latency-s", str(options.latency_s)))
        model_url, url = f"http://127.0.0.1:{model_port}/v1", f"http://127.0.0.1:{port}"
        until_ok(f"{model_url}/models")
        settings = {"MODEL_BASE_URL": model_url, "MODEL_ID": "fake", "AGENT_PORT": str(port)}
        service = stack.enter_context(process("-m", "genai_pipeline.agent", **settings))
        alive_s = until_ok(f"{url}/healthz")
        ready_s = alive_s + until_ok(f"{url}/readyz")
        bare = stack.enter_context(process(__file__, "--bare-loop", model_url))
        sessions = asyncio.run(many_sessions(url, service.pid, options.sessions, options.turns))
        pairs = overheads(url, bare, options.requests)
    return figures(pairs, sessions) | {"alive_s": alive_s, "ready_s": ready_s, "load": os.getloadavg()[0]}


def figures(pairs: list[tuple[float, float]], sessions: dict[str, Any]) -> dict[str, Any]:
    served, bare = [a for a, _ in pairs], [b for _, b in pairs]
    rss = sessions["rss_mb"]
    most = max(rss)
    return {
        "served_ms": {"p50": 1000 * statistics.median(served), "p99": 1000 * percentile(served, 0.99)},
        "bare_ms": {"p50": 1000 * statistics.median(bare), "p99": 1000 * percentile(bare, 0.99)},
        "p50_ms": 1000 * (statistics.median(served) - statistics.median(bare)),
        "p99_ms": 1000 * (percentile(served, 0.99) - percentile(bare, 0.99)),
        "rss_base_mb": rss[0],
        "rss_session_mb": (rss[most] - rss[0]) / most,
        "rss_mb": rss,
        "first_byte_ms": 1000 * statistics.median(sessions["first_byte_s"]) if sessions["first_byte_s"] else None,
        "errors": sessions["errors"],
    }


def table(found: dict[str, Any]) -> str:
    lines = [f"{'':<34}{'measured':>10}{'target':>10}"]
    names = {
        "p50_ms": "overhead p50, ms",
        "p99_ms": "overhead p99, ms",
        "rss_base_mb": "RSS without sessions, MB",
        "rss_session_mb": "RSS for each session, MB",
        "first_byte_ms": "first byte after the model's, ms",
    }
    for key, name in names.items():
        value = found[key]
        lines.append(f"{name:<34}{value if value is None else f'{value:.1f}':>10}{TARGETS[key]:>10.1f}")
    lines.append(f"{'errors':<34}{len(found['errors']):>10}{0:>10}")
    lines.append(f"{'alive after, s':<34}{found['alive_s']:>10.1f}{2.0:>10.1f}")
    lines.append(f"{'ready after, s':<34}{found['ready_s']:>10.1f}")
    lines.append(
        f"served {found['served_ms']}, bare {found['bare_ms']}, RSS {found['rss_mb']}, load {found['load']:.1f}"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200, help="one after the other, for the overhead")
    parser.add_argument("--sessions", type=int, default=200, help="at once")
    parser.add_argument("--turns", type=int, default=3, help="of each session")
    parser.add_argument("--latency-s", type=float, default=0.05, help="of the fake model")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--model", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bare-loop", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.model:
        return asyncio.run(model(options.model, options.latency_s))
    if options.bare_loop:
        return bare_loop(options.bare_loop)
    found = run(options)
    print(table(found))
    for error in found["errors"][:5]:
        print(error)
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
