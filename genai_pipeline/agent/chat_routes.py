"""The agent for clients of OpenAI's API: GET /v1/models and POST /v1/chat/completions.

Each request brings its whole conversation and leaves nothing behind: its turn belongs to no session. Keys, limits,
deadline, drain and metrics are those of POST /agent.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from genai_pipeline.agent import chat_openapi, openapi
from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.answering import Json
from genai_pipeline.agent.callers import caller_key
from genai_pipeline.agent.chat_completion import ChatAnswer
from genai_pipeline.agent.chat_question import EXAMPLE, ignored_fields, parse_chat, talk_of
from genai_pipeline.agent.question import parse_json, read_body
from genai_pipeline.agent.service import AgentService
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.streaming import stream, until_disconnect

IGNORED_HEADER = "X-Genai-Ignored"


def add_chat(app: FastAPI, service: AgentService) -> None:
    """Add the endpoints to the application of a service."""
    settings, began_at = service.settings, int(time.time())

    @app.get(
        "/v1/models",
        response_model=None,
        operation_id="listModels",
        summary="The agent, as a model",
        responses=openapi.answers(chat_openapi.ChatModels, "The only model is the agent.", chat_openapi.MODELS)
        | chat_openapi.errors(settings),
        openapi_extra=openapi.secured(settings),
    )
    async def models(request: Request) -> Response:
        caller_key(request.headers, settings.keys)
        model = {"id": settings.agent_name, "object": "model", "created": began_at, "owned_by": "genai-pipeline"}
        return Json({"object": "list", "data": [model]})

    @app.post(
        "/v1/chat/completions",
        response_model=None,
        operation_id="completeChat",
        summary="One turn of a conversation that the client keeps",
        responses=chat_openapi.completion_answers()
        | chat_openapi.errors(settings, 400, 404, 408, 413, 415, 429, 500, 502, 503, 504),
        openapi_extra=openapi.secured(settings, requestBody=chat_openapi.QUESTION_BODY),
    )
    async def chat(request: Request) -> Response:
        caller_key(request.headers, settings.keys)
        data = parse_json(*await read_body(request, settings.max_chat_bytes), EXAMPLE)
        response = await _answered(request, service, data)
        if ignored := ignored_fields(data):
            response.headers[IGNORED_HEADER] = ", ".join(ignored)
        return response


async def _answered(request: Request, service: AgentService, data: dict[str, Any]) -> Response:
    """Make the turn that the body asks for. Raises: AgentError."""
    settings, question = service.settings, parse_chat(data)
    _check_model(question.model, settings)
    answer = ChatAnswer(settings.agent_name, settings.release_id, question.wants_usage)
    talk = talk_of(question, settings.max_prompt_chars)
    first_text, turn = service.metrics.until_first_text(), service.begin_alone(talk, answer.id)
    if not question.stream:
        return Json(answer.whole(await until_disconnect(request, turn)))
    return await stream(request, turn, answer, first_text)


def _check_model(asked: str, settings: Settings) -> None:
    if asked != settings.agent_name:
        message = f"There is no model {asked[:80]!r} here. The agent has the name {settings.agent_name!r}."
        raise AgentError(404, "model_not_found", message, param="model")
