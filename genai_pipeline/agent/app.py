"""The service over HTTP: POST /agent, and /healthz, /readyz and /metrics for those who run it."""

from __future__ import annotations

import logging
import time
from typing import Any

from flask import Flask, Response, g, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.question import Question
from genai_pipeline.agent.service import AgentService

RELEASE_HEADER = "X-Genai-Release"
PATHS = "POST /agent, GET /healthz, GET /readyz, GET /metrics"

logger = logging.getLogger(__name__)


def create_app(service: AgentService) -> Flask:
    """The WSGI application of one service."""
    app = Flask("genai_pipeline.agent", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = service.settings.max_body_bytes
    app.json.ensure_ascii = False  # pyright: ignore[reportAttributeAccessIssue]
    _add_routes(app, service)
    _add_error_answers(app, service)

    @app.before_request
    def start_timer() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[RELEASE_HEADER] = service.settings.release_id
        if request.path == "/agent":
            service.metrics.requests.labels(str(response.status_code)).inc()
            service.metrics.seconds.observe(time.perf_counter() - g.started)
        return response

    return app


def _add_routes(app: Flask, service: AgentService) -> None:
    @app.post("/agent")
    def agent() -> Any:
        question = Question.parse(request.get_data(), request.mimetype, service.settings.max_prompt_chars)
        return service.answer(question)

    @app.get("/healthz")
    def healthz() -> Any:
        return {"status": "alive"}

    @app.get("/readyz")
    def readyz() -> Any:
        readiness = service.ready()
        settings = service.settings
        answer = {"ready": readiness.ready, "release": settings.release_id, "model": settings.model}
        return (answer, 200) if readiness.ready else (answer | {"reason": readiness.reason}, 503)

    @app.get("/metrics")
    def metrics() -> Any:
        return Response(service.metrics.render(), content_type=CONTENT_TYPE_LATEST)


def _add_error_answers(app: Flask, service: AgentService) -> None:
    @app.errorhandler(AgentError)
    def agent_error(error: AgentError) -> Any:
        return _answer(error)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Any:
        limit = service.settings.max_body_bytes
        code, message = {
            404: ("not_found", f"There is no {request.path[:80]}. There are {PATHS}."),
            405: ("wrong_method", f"{request.method} does not go with {request.path[:80]}. There are {PATHS}."),
            413: ("body_too_large", f"The body is larger than {limit} bytes. Shorten it."),
        }.get(error.code or 500, ("bad_request", f"The request is not understood ({error.name})."))
        return _answer(AgentError(error.code or 500, code, message), getattr(error, "valid_methods", None))

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Any:
        logger.exception("path=<%s> | a request failed", request.path)
        message = f"The agent failed unexpectedly ({type(error).__name__}). See the service's log."
        return _answer(AgentError(500, "internal_error", message))


def _answer(error: AgentError, allow: list[str] | None = None) -> Any:
    response = jsonify({"error": {"code": error.code, "message": error.message}})
    response.status_code = error.status
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if allow:
        response.headers["Allow"] = ", ".join(sorted(allow))
    return response
