"""The real agent service, served by uvicorn within this process on a free loopback port."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from genai_pipeline.agent.server import AgentServer, listen
from genai_pipeline.agent.service import AgentService
from genai_pipeline.agent.settings import Settings


@dataclass
class RunningAgent:
    url: str
    service: AgentService

    @property
    def sessions(self) -> Any:
        """The real keeper of sessions, for tests that break it."""
        assert self.service._parts is not None
        return self.service._parts.result().sessions


@contextmanager
def running_agent(model_url: str, weather_url: str = "http://127.0.0.1:9", **settings: Any) -> Iterator[RunningAgent]:
    """Serve an agent on the model `scripted`; `settings` are fields of Settings."""
    # Model, agent and clients share one process: on a busy machine its threads are late, and no test is about that.
    patient = {"model_connect_timeout_s": 30.0, "weather_timeout_s": 30.0}
    addresses = {"model_base_url": model_url, "model_id": "scripted", "weather_url": weather_url}
    chosen = Settings(**patient | addresses | settings)
    service, listener = AgentService(chosen), listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = AgentServer(service)
    server.config.timeout_graceful_shutdown = 0
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        _wait_until_started(url, {"X-Api-Key": "".join(chosen.keys[:1])})
        yield RunningAgent(url, service)
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def _wait_until_started(url: str, key: dict[str, str]) -> None:
    """A session that is not there is only looked for once everything is built."""
    ends_at = time.monotonic() + 60
    while (answer := httpx.get(f"{url}/sessions/{'x' * 32}", headers=key, timeout=60)).status_code == 504:
        assert time.monotonic() < ends_at, "the agent does not start"
    assert answer.status_code == 404, answer.text
