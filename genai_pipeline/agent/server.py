"""Serve the application, and end politely: on SIGTERM what is under way is finished and nothing new is begun."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

from waitress.server import create_server

from genai_pipeline.agent.app import create_app
from genai_pipeline.agent.service import AgentService
from genai_pipeline.agent.settings import Settings

SPARE_THREADS = 8
"""For probes, metrics and refusals while every slot is taken."""
HARD_BODY_FACTOR = 16
"""Bodies beyond the limit are refused in JSON; beyond this many limits waitress refuses to read them at all."""

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    service = AgentService(settings)
    server: Any = create_server(
        create_app(service),
        host=settings.host,
        port=settings.port,
        threads=settings.max_concurrent + SPARE_THREADS,
        connection_limit=4 * settings.max_concurrent + 100,
        max_request_body_size=HARD_BODY_FACTOR * settings.max_body_bytes,
        ident=None,
        clear_untrusted_proxy_headers=True,
    )
    threading.Thread(target=server.run, name="http", daemon=True).start()
    logger.warning("host=<%s>, port=<%s>, model=<%s> | serving", settings.host, server.effective_port, settings.model)
    stop.wait()
    service.draining.set()
    left = drain(server, settings.drain_deadline_s)
    logger.warning("unfinished=<%d> | stopped", left)


def drain(server: Any, deadline_s: float) -> int:
    """Wait until no request is under way and every answer is sent; how many were not."""
    ends_at = time.monotonic() + deadline_s
    while (left := _under_way(server)) and time.monotonic() < ends_at:
        time.sleep(0.02)
    return left


def _under_way(server: Any) -> int:
    return sum(bool(channel.requests or channel.total_outbufs_len) for channel in list(server.active_channels.values()))
