"""Answers as JSON: replies, and errors in the form that the caller's path promises."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse, Response

from genai_pipeline.agent.agent_errors import AgentError

OPENAI_PATHS = "/v1/"
"""Below it, errors have the form of OpenAI's API."""


class Json(JSONResponse):
    """Sends halves of surrogate pairs, which a model's words may hold and UTF-8 does not have, as escapes."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


def answer_error(error: AgentError, path: str = "") -> Response:
    """Return the answer to a failed request. Args: path: of the request; it decides the form."""
    found = openai_error(error) if path.startswith(OPENAI_PATHS) else {"code": error.code, "message": error.message}
    answer = JSONResponse({"error": found}, error.status)
    if error.retry_after_s is not None:
        answer.headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def openai_error(error: AgentError) -> dict[str, Any]:
    """Return the error in OpenAI's form. Source: the schema `Error` of https://github.com/openai/openai-openapi."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    if error.status == 429:
        kind = "rate_limit_error"
    return {"message": error.message, "type": kind, "param": error.param, "code": error.code}
