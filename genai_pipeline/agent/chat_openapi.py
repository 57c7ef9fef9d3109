"""What the OpenAPI document says about the endpoints for clients of OpenAI's API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from genai_pipeline.agent import openapi
from genai_pipeline.agent.chat_question import ChatQuestion
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.turn_events import Count

_NAME = "weather-agent"
_MODEL = {"id": _NAME, "object": "model", "created": 1796000000, "owned_by": "genai-pipeline"}
MODELS = {"object": "list", "data": [_MODEL]}
_USAGE = {"prompt_tokens": 412, "completion_tokens": 31, "total_tokens": 443}
_MESSAGE = {"role": "assistant", "content": "In Zürich it is 12°C with light rain.", "refusal": None}
_HEAD = {"id": "chatcmpl-0f3a", "created": 1796000000, "model": _NAME, "system_fingerprint": "0123456789ab-cdef01"}
_CHOICE = {"index": 0, "message": _MESSAGE, "finish_reason": "stop", "logprobs": None}
COMPLETION = _HEAD | {"object": "chat.completion", "choices": [_CHOICE], "usage": _USAGE}
STREAM = (
    'data: {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "In Zürich"}, …}], …}\n\n'
    "data: [DONE]\n\n"
)
_NOT_FOUND = ("The model is not this agent.", "model_not_found", "There is no model 'x' here.")
QUESTION_BODY = {
    "required": True,
    "content": {
        openapi.JSON: {
            "schema": {"$ref": "#/components/schemas/ChatQuestion"},
            "examples": {
                "question": {
                    "summary": "Ask",
                    "value": {"model": _NAME, "messages": [{"role": "user", "content": "What time is it in Tokyo?"}]},
                }
            },
        }
    },
}


class ChatModel(openapi.Documented):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ChatModels(openapi.Documented):
    object: Literal["list"]
    data: list[ChatModel]


class ChatErrorDetail(openapi.Documented):
    message: str
    type: str
    param: str | None
    code: str


class ChatErrorAnswer(openapi.Documented):
    error: ChatErrorDetail


class AnsweredMessage(openapi.Documented):
    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(openapi.Documented):
    index: Literal[0]
    message: AnsweredMessage
    finish_reason: Literal["stop"]
    logprobs: None


class ChatUsage(BaseModel):
    """The tokens of all completions of the turn."""

    model_config = ConfigDict(extra="allow")

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count


class ChatCompletion(openapi.Documented):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: list[ChatChoice]
    usage: ChatUsage


def completion_answers() -> dict[int | str, Any]:
    """Describe the answer, as JSON and as chunks."""
    described = openapi.answers(ChatCompletion, "The answer; with stream: true as chunks.", COMPLETION)
    schema = {"type": "string", "description": "Chunks of a chat completion; the last line is data: [DONE]."}
    described[200]["content"]["text/event-stream"] = {"schema": schema, "examples": {"weather": {"value": STREAM}}}
    described[200]["headers"] = {
        "X-Genai-Ignored": {"schema": {"type": "string"}, "description": "Fields that change nothing."}
    }
    return described


def errors(settings: Settings, *statuses: int) -> dict[int | str, Any]:
    """Describe these statuses in OpenAI's form; 401 too where the service asks for keys."""
    described = openapi.errors(settings, *statuses)
    for status, answer in described.items():
        description, code, message = _NOT_FOUND if status == 404 else openapi.ERRORS[int(status)]
        example = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
        answer |= openapi.answers(ChatErrorAnswer, description, example)[200]
    return described


def schemas(settings: Settings) -> Mapping[str, Any]:
    """Return the schemas of the request's body by their names."""
    schema = ChatQuestion.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"]["model"]["enum"] = [settings.agent_name]
    return {**schema.pop("$defs"), "ChatQuestion": schema}
