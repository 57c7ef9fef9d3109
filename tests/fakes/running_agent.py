"""The real agent service, served by waitress within this process on a free loopback port."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from waitress.server import create_server

from genai_pipeline.agent.app import create_app
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
    service = AgentService(chosen)
    server: Any = create_server(create_app(service), host="127.0.0.1", port=0, threads=chosen.max_concurrent + 8)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield RunningAgent(f"http://127.0.0.1:{server.effective_port}", service)
    finally:
        server.trigger.pull_trigger(server._map.clear)  # the loop ends by itself; closing under it would break it
        thread.join(timeout=5)
        server.task_dispatcher.shutdown(timeout=1)
        server.close()
        service.close()
