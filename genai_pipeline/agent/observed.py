"""Middleware around every request: the release's header, the metrics, and a JSON answer to unexpected errors."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.answering import answer_error
from genai_pipeline.agent.connection_age import ConnectionAges
from genai_pipeline.agent.service import AgentService

RELEASE_HEADER = "X-Genai-Release"
TURNS = ("/agent", "/v1/chat/completions")
"""The paths whose requests are turns. The metrics count these."""
_CLOSING = (408, 413)
"""After these the rest of the body may still arrive, and must not be taken for the next request."""

ABORTED = 499
"""The status in the metrics of a request that ended without an answer."""

logger = logging.getLogger(__name__)


class RequestObserver:
    """ASGI middleware. Answers ask their clients to close old connections, and all while the service drains."""

    def __init__(self, app: ASGIApp, service: AgentService) -> None:
        self._app, self._service, self._ages = app, service, ConnectionAges()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        self._service.admit(scope.get("client"))
        is_old = self._ages.is_old(scope.get("client"))
        status, started = 0, time.perf_counter()

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers(status, is_old)]
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception as error:
            logger.exception("path=<%s> | a request failed", scope["path"])
            if status:
                raise  # the answer has begun: it can only be broken off
            message = f"The agent failed unexpectedly ({type(error).__name__}). See the service's log."
            failed = AgentError(500, "internal_error", message)
            await answer_error(failed, scope["path"])(scope, receive, send_marked)
        finally:
            if scope["path"] in TURNS:
                status = scope.get("state", {}).get(
                    "error_status", status
                )  # a stream's own status came before its error
                self._service.metrics.requests.labels(str(status or ABORTED)).inc()
                self._service.metrics.seconds.observe(time.perf_counter() - started)

    def _headers(self, status: int, is_old: bool) -> list[tuple[bytes, bytes]]:
        headers = [(RELEASE_HEADER.lower().encode(), self._service.settings.release_id.encode("latin-1", "replace"))]
        if is_old or self._service.draining.is_set() or status in _CLOSING:
            headers.append((b"connection", b"close"))
        return headers
