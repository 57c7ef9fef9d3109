"""The service over HTTP: POST /agent, and /healthz, /readyz and /metrics for those who run it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from genai_pipeline.agent.body import read_body
from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.observed import Observed, answer_error
from genai_pipeline.agent.question import Question
from genai_pipeline.agent.service import AgentService
from genai_pipeline.agent.streaming import EventStream, until_disconnect, wants_events

PATHS = "POST /agent, GET /healthz, GET /readyz, GET /metrics"

logger = logging.getLogger(__name__)


def create_app(service: AgentService) -> FastAPI:
    """The ASGI application of one service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(title="Strands agent", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    _add_agent(app, service)
    _add_probes(app, service)
    _add_error_answers(app)
    app.add_middleware(Observed, service=service)
    return app


def _add_agent(app: FastAPI, service: AgentService) -> None:
    @app.post("/agent", response_model=None)
    async def agent(request: Request) -> Response:
        body = await read_body(request, service.settings.max_body_bytes)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        question = Question.parse(body, content_type, service.settings.max_prompt_chars)
        turn = service.begin(question)
        if wants_events(request.headers.get("accept", "")):
            return await EventStream.of(turn)
        return JSONResponse(await until_disconnect(request, turn))


def _add_probes(app: FastAPI, service: AgentService) -> None:
    @app.get("/healthz", response_model=None)
    async def healthz() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz", response_model=None)
    async def readyz() -> Response:
        readiness = await service.ready()
        settings = service.settings
        answer: dict[str, Any] = {"ready": readiness.ready, "release": settings.release_id, "model": settings.model}
        if readiness.ready:
            return JSONResponse(answer)
        return JSONResponse(answer | {"reason": readiness.reason}, 503)

    @app.get("/metrics", response_model=None)
    async def metrics() -> Response:
        return Response(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _add_error_answers(app: FastAPI) -> None:
    @app.exception_handler(AgentError)
    async def agent_error(request: Request, error: AgentError) -> Response:
        return answer_error(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer_error(AgentError(400, "bad_request", f"The request is not understood ({error.errors()[0]})."))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        path = request.url.path[:80]
        code, message = {
            404: ("not_found", f"There is no {path}. There are {PATHS}."),
            405: ("wrong_method", f"{request.method} does not go with {path}. There are {PATHS}."),
        }.get(error.status_code, ("bad_request", f"The request is not understood ({error.detail})."))
        answer = answer_error(AgentError(error.status_code, code, message))
        answer.headers.update(error.headers or {})
        return answer
