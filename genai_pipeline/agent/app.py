"""The service over HTTP: POST /agent, GET and DELETE /sessions/{session_id}, and what those need who run it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.routing import Match

from genai_pipeline.agent.body import read_body
from genai_pipeline.agent.callers import caller_key
from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.observed import Observed, answer_error
from genai_pipeline.agent.openapi import document
from genai_pipeline.agent.question import Question
from genai_pipeline.agent.service import AgentService
from genai_pipeline.agent.sessions.ids import SESSION_ID
from genai_pipeline.agent.streaming import EventStream, begun, until_disconnect, wants_events

PATHS = "POST /agent, GET and DELETE /sessions/{session_id}, GET /healthz, /readyz, /metrics and /openapi.json"


def create_app(service: AgentService) -> FastAPI:
    """The ASGI application of one service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, redirect_slashes=False)
    _add_agent(app, service)
    _add_sessions(app, service)
    _add_probes(app, service)
    _add_error_answers(app)
    app.add_middleware(Observed, service=service)
    return app


def _add_agent(app: FastAPI, service: AgentService) -> None:
    @app.post("/agent", response_model=None)
    async def agent(request: Request) -> Response:
        key = caller_key(request.headers, service.settings.keys)
        body = await read_body(request, service.settings.max_body_bytes)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        question = Question.parse(body, content_type, service.settings.max_prompt_chars)
        began, turn = time.perf_counter(), service.begin(question, key)
        if not wants_events(", ".join(request.headers.getlist("accept"))):
            return Json(await until_disconnect(request, turn))

        def first_text() -> None:
            service.metrics.first_byte.observe(time.perf_counter() - began)

        def failed(error: AgentError) -> None:
            request.state.told = error.status

        return EventStream(await begun(turn), turn, first_text, failed)


def _add_sessions(app: FastAPI, service: AgentService) -> None:
    def asked(request: Request) -> tuple[str, str]:
        key = caller_key(request.headers, service.settings.keys)
        session_id = request.path_params["session_id"]
        if not SESSION_ID.fullmatch(session_id):
            told = "A session's id has 16 to 64 letters, digits, hyphens or underscores."
            raise AgentError(404, "no_session", f"There is no such session. {told}")
        return session_id, key

    @app.get("/sessions/{session_id}", response_model=None)
    async def view(request: Request) -> Response:
        return Json(await service.view(*asked(request)))

    @app.delete("/sessions/{session_id}", response_model=None)
    async def delete(request: Request) -> Response:
        await service.delete(*asked(request))
        return Response(status_code=204)


def _add_probes(app: FastAPI, service: AgentService) -> None:
    described = document(service.settings)

    @app.api_route("/healthz", methods=["GET", "HEAD"], response_model=None)
    async def healthz() -> Response:
        return Json({"status": "alive"})

    @app.api_route("/readyz", methods=["GET", "HEAD"], response_model=None)
    async def readyz() -> Response:
        ready, reason = await service.ready()
        settings = service.settings
        answer = {"ready": ready, "release": settings.release_id, "model": settings.model}
        told = {"note" if ready else "reason": reason} if reason else {}
        return Json(answer | told, 200 if ready else 503)

    @app.api_route("/metrics", methods=["GET", "HEAD"], response_model=None)
    async def metrics() -> Response:
        return Response(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.api_route("/openapi.json", methods=["GET", "HEAD"], response_model=None)
    async def openapi() -> Response:
        return Json(described)


class Json(JSONResponse):
    """What a model says may hold halves of surrogate pairs, which are no UTF-8: they are sent as escapes."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


def _add_error_answers(app: FastAPI) -> None:
    @app.exception_handler(AgentError)
    async def agent_error(request: Request, error: AgentError) -> Response:
        return answer_error(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer_error(AgentError(400, "bad_request", "The request is not understood."))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        path = request.url.path[:80]
        code, message = {
            404: ("not_found", f"There is no {path}. There are {PATHS}."),
            405: ("wrong_method", f"{request.method} does not go with {path}. There are {PATHS}."),
        }.get(error.status_code, ("bad_request", f"The request is not understood ({error.detail})."))
        answer = answer_error(AgentError(error.status_code, code, message))
        if error.status_code == 405:
            answer.headers["Allow"] = ", ".join(sorted(_methods(app, request.scope)))
        return answer


def _methods(app: FastAPI, scope: Mapping[str, Any]) -> set[str]:
    """All methods of a path: Starlette names those of the first route alone."""
    matching = [route for route in app.routes if route.matches({**scope})[0] != Match.NONE]
    return {method for route in matching for method in getattr(route, "methods", None) or ()}
