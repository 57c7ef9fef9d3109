"""Two replicas, processes of their own, behind one address, with sessions in a real S3."""

import asyncio
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from genai_pipeline.local.cluster.forwarder import Forwarder
from genai_pipeline.local.ports import free_port
from tests.fakes.scripted_model import Messages, Say, ScriptedModel, text_of
from tests.integration.agent.test_process import agent_process
from tests.integration.conftest import S3Server

pytestmark = pytest.mark.long


def prompts(messages: Messages) -> Say:
    """Says everything the user said in this conversation; `slow …` takes a while."""
    said = [text_of(m) for m in messages if m["role"] == "user"]
    return Say(" | ".join(said), wait_s=0.2 if said[-1].startswith("slow") else 0)


@contextmanager
def one_address(*urls: str) -> Iterator[str]:
    """Each connection goes to the next one that takes it."""
    loop, port = asyncio.new_event_loop(), free_port()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    forwarder = Forwarder("127.0.0.1", port)
    backends = [(str(part.hostname), int(part.port or 0)) for part in map(urlsplit, urls)]
    asyncio.run_coroutine_threadsafe(forwarder.set_backends(backends), loop).result(30)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(forwarder.close)
        loop.call_soon_threadsafe(loop.stop)


@dataclass
class Replicas:
    model: ScriptedModel
    processes: list[Any]
    urls: list[str]
    address: str

    def seen_by(self, url: str) -> int:
        """How many requests a replica has answered."""
        lines = httpx.get(f"{url}/metrics", timeout=60).text.splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith("agent_requests_total{"))


@pytest.fixture
def replicas(request: pytest.FixtureRequest, s3_server: S3Server) -> Iterator[Replicas]:
    bucket = f"agent-{uuid.uuid4().hex[:8]}"
    s3_server.store(bucket).ensure_bucket()
    env = s3_server.env | {"AGENT_SESSIONS": f"s3://{bucket}/agents", "AGENT_SESSION_LEASE_S": request.param}
    with ScriptedModel(prompts) as model, ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        processes, urls = [], []
        for _ in range(2):
            process, url = stack.enter_context(agent_process(model.url, **env))
            processes.append(process)
            urls.append(url)
        for started in [pool.submit(httpx.get, f"{url}/sessions/{'x' * 20}", timeout=60) for url in urls]:
            assert started.result().status_code == 404
        yield Replicas(model, processes, urls, stack.enter_context(one_address(*urls)))


def ask(url: str, prompt: str, session_id: str) -> str:
    answer = httpx.post(f"{url}/agent", json={"prompt": prompt, "session_id": session_id}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["response"]


@pytest.mark.parametrize("replicas", ["30"], indirect=True)
def test_two_replicas_share_sessions_keep_their_order_and_survive_a_kill(replicas: Replicas):
    address, ids = replicas.address, [f"session-number-{i:04}" for i in range(50)]
    with ThreadPoolExecutor(50) as pool:
        for round_ in range(3):
            said = list(pool.map(lambda name: ask(address, f"{name}/{round_}", name), ids))  # noqa: B023
            assert said == [" | ".join(f"{name}/{r}" for r in range(round_ + 1)) for name in ids]
        at_once = sorted(pool.map(lambda i: ask(address, f"slow {i}", "one-session-for-all"), range(6)), key=len)
    assert all(replicas.seen_by(url) > 20 for url in replicas.urls)
    assert all(later.startswith(earlier) for earlier, later in pairwise(at_once))
    assert len(at_once[-1].split(" | ")) == 6

    replicas.processes[0].kill()
    replicas.processes[0].wait()
    for name in ids[:5]:
        assert ask(address, "after", name).endswith(f"{name}/2 | after")
    shown = httpx.get(f"{address}/sessions/{ids[0]}", timeout=60).json()
    assert [turn["prompt"] for turn in shown["turns"]] == [f"{ids[0]}/{r}" for r in range(3)] + ["after"]


@pytest.mark.parametrize("replicas", ["2"], indirect=True)
def test_a_replica_killed_in_a_turn_leaves_the_old_conversation_to_the_other(replicas: Replicas):
    entered, go_on = threading.Event(), threading.Event()

    def script(messages: Messages) -> Say:
        if text_of(messages[-1]) == "never answered":
            entered.set()
            go_on.wait(60)
        return prompts(messages)

    first, second = replicas.urls
    ask(first, "one", "a-session-of-my-own")
    replicas.model.script = script
    body = {"prompt": "never answered", "session_id": "a-session-of-my-own"}
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(httpx.post, f"{first}/agent", json=body, timeout=60)
        assert entered.wait(60)
        replicas.processes[0].kill()
        with pytest.raises(httpx.HTTPError):
            lost.result()
        assert ask(second, "two", "a-session-of-my-own") == "one | two"  # once the dead one's lease has run out
        go_on.set()
