"""The real agent service, served by uvicorn within this process on a free loopback port."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from genai_pipeline.agent.server import AgentServer, listen
from genai_pipeline.agent.service import AgentService
from genai_pipeline.agent.settings import Settings


@dataclass
class RunningAgent:
    url: str
    service: AgentService


@contextmanager
def running_agent(model_url: str, weather_url: str = "http://127.0.0.1:9", **settings: Any) -> Iterator[RunningAgent]:
    """Serve an agent on the model `scripted`; `settings` are fields of Settings."""
    chosen = Settings(**{"model_base_url": model_url, "model_id": "scripted", "weather_url": weather_url} | settings)
    service, listener = AgentService(chosen), listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = AgentServer(service)
    server.config.timeout_graceful_shutdown = 0
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield RunningAgent(url, service)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
