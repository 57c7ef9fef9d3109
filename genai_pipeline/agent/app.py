"""The service over HTTP: POST /agent, GET and DELETE /sessions/{session_id}, and the endpoints for operators.

chat_routes.py adds the endpoints for clients of OpenAI's API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.routing import Match

from genai_pipeline.agent import chat_openapi, openapi
from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.answering import Json, answer_error
from genai_pipeline.agent.callers import caller_key
from genai_pipeline.agent.chat_routes import add_chat
from genai_pipeline.agent.observed import RequestObserver
from genai_pipeline.agent.question import Question, limited_question, read_question
from genai_pipeline.agent.service import AgentService
from genai_pipeline.agent.sessions.ids import SESSION_ID
from genai_pipeline.agent.streaming import AgentEvents, stream, until_disconnect, wants_events

PATHS = (
    "POST /agent and /v1/chat/completions, GET and DELETE /sessions/{session_id}, "
    "GET /v1/models, /healthz, /readyz, /metrics and /openapi.json"
)


def create_app(service: AgentService) -> FastAPI:
    """Return the ASGI application of one service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, redirect_slashes=False)
    question = limited_question(service.settings.max_prompt_chars)
    _add_agent(app, service, question)
    _add_sessions(app, service)
    add_chat(app, service)
    _add_operators_endpoints(app, service, question)
    _add_error_answers(app)
    app.add_middleware(RequestObserver, service=service)
    return app


def _add_agent(app: FastAPI, service: AgentService, model: type[Question]) -> None:
    settings = service.settings
    failures = openapi.errors(settings, 400, 404, 408, 409, 413, 415, 429, 500, 502, 503, 504)

    @app.post(
        "/agent",
        response_model=None,
        operation_id="ask",
        summary="One turn of a conversation",
        responses=openapi.reply_answers() | failures,
        openapi_extra=openapi.secured(settings, requestBody=openapi.QUESTION_BODY),
    )
    async def agent(request: Request) -> Response:
        key = caller_key(request.headers, settings.keys)
        question = await read_question(request, model, settings.max_body_bytes)
        first_text, turn = service.metrics.until_first_text(), service.begin(question, key)
        if not wants_events(", ".join(request.headers.getlist("accept"))):
            return Json(await until_disconnect(request, turn))
        return await stream(request, turn, AgentEvents(), first_text)


def _add_sessions(app: FastAPI, service: AgentService) -> None:
    described = openapi.secured(service.settings, parameters=[openapi.SESSION_PARAMETER])

    def key_and_session(request: Request) -> tuple[str, str]:
        key = caller_key(request.headers, service.settings.keys)
        session_id = request.path_params["session_id"]
        if not SESSION_ID.fullmatch(session_id):
            hint = "A session's id has 16 to 64 letters, digits, hyphens or underscores."
            raise AgentError(404, "no_session", f"There is no such session. {hint}")
        return session_id, key

    @app.get(
        "/sessions/{session_id}",
        response_model=None,
        operation_id="readSession",
        summary="Read a conversation",
        description="Its turns, oldest first.",
        responses=openapi.answers(openapi.Session, "The conversation.", openapi.SESSION)
        | openapi.errors(service.settings, 404, 500, 503, 504),
        openapi_extra=described,
    )
    async def view(request: Request) -> Response:
        return Json(await service.view(*key_and_session(request)))

    @app.delete(
        "/sessions/{session_id}",
        response_model=None,
        status_code=204,
        operation_id="deleteSession",
        summary="Delete a conversation",
        description="After the turns that are under way.",
        responses=openapi.errors(service.settings, 404, 409, 500, 503, 504),
        openapi_extra=described,
    )
    async def delete(request: Request) -> Response:
        await service.delete(*key_and_session(request))
        return Response(status_code=204)


def _add_operators_endpoints(app: FastAPI, service: AgentService, question: type[Question]) -> None:
    def readable(path: str, summary: str, **described: Any) -> Callable[[Any], Any]:
        """Add GET, and HEAD for load balancers that ask so."""

        def add(endpoint: Any) -> Any:
            app.get(path, response_model=None, summary=summary, **described)(endpoint)
            bodiless = {status: {"description": summary} for status in described.get("responses", ())}
            app.head(path, response_model=None, response_class=Response, summary=summary, responses=bodiless)(endpoint)
            return endpoint

        return add

    @readable("/healthz", "The process answers")
    async def healthz() -> Response:
        return Json({"status": "alive"})

    ready = openapi.answers(openapi.ReadinessAnswer, "The service is ready.", openapi.READY)
    not_ready = openapi.answers(openapi.ReadinessAnswer, "The service is not ready.", openapi.NOT_READY, 503)

    @readable("/readyz", "The model answered lately", responses=ready | not_ready)
    async def readyz() -> Response:
        ready, reason = await service.ready()
        settings = service.settings
        answer = {"ready": ready, "release": settings.release_id, "model": settings.model}
        if reason:
            answer["note" if ready else "reason"] = reason
        return Json(answer, 200 if ready else 503)

    @readable("/metrics", "Metrics for Prometheus", response_class=PlainText)
    async def metrics() -> Response:
        return Response(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @cache
    def described() -> dict[str, Any]:
        bodies = {"Question": question.model_json_schema(), **chat_openapi.schemas(service.settings)}
        return openapi.document(app, service.settings, bodies)

    @readable("/openapi.json", "This document")
    async def document() -> Response:
        return Json(described())


class PlainText(Response):
    """Only for the document: the media type of the metrics."""

    media_type = "text/plain"


def _add_error_answers(app: FastAPI) -> None:
    @app.exception_handler(AgentError)
    async def agent_error(request: Request, error: AgentError) -> Response:
        return answer_error(error, request.url.path)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        path = request.url.path[:80]
        code, message = {
            404: ("not_found", f"{path} does not exist. The service has {PATHS}."),
            405: ("wrong_method", f"{request.method} is not allowed for {path}. The service has {PATHS}."),
        }.get(error.status_code, ("bad_request", f"The request is malformed ({error.detail})."))
        answer = answer_error(AgentError(error.status_code, code, message), request.url.path)
        if error.status_code == 405:
            answer.headers["Allow"] = ", ".join(sorted(_methods(app, request.scope)))
        return answer


def _methods(app: FastAPI, scope: Mapping[str, Any]) -> set[str]:
    """Return all methods of a path: Starlette names those of the first route only."""
    matching = [route for route in app.routes if route.matches({**scope})[0] != Match.NONE]
    return {method for route in matching for method in getattr(route, "methods", None) or ()}
