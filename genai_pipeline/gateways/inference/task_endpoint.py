"""The endpoint of each task: its path, the smallest request, and how an answer is read. Pure.

Sources: OpenAI API reference, "Chat Completions", "Completions" and "Embeddings". For scores vLLM's own
`entrypoints/pooling/scoring/protocol.py`: it documents the names `queries` and `documents`, and takes `text_1` and
`text_2` as well. `/rerank` sorts the scores of one query and several documents, by the same model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.task import Task
from genai_pipeline.gateways.inference.abc import Answer, Completion, Embedding, Score, ToolCall
from genai_pipeline.gateways.inference.chat_answer import RawCall, parse_answer

_MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError)


@dataclass(frozen=True)
class TaskEndpoint:
    """How one task is asked.

    Args:
        path: below `/v1`.
        wanted: what comes back, for errors.
        question: the fields of a body that hold a text.
        read: returns the answer that a response body holds. Raises ValueError: it holds none.
    """

    task: Task
    path: str
    wanted: str
    question: Callable[[str], Mapping[str, Any]]
    read: Callable[[bytes], Answer]

    def body(self, model: str, text: str, max_tokens: int) -> dict[str, Any]:
        """Return the body of a request.

        Args:
            max_tokens: most tokens of the answer; only a task that generates has a limit.
        """
        limits = {"max_tokens": max_tokens, "temperature": 0} if self.task.generates else {}
        return {"model": model, **self.question(text), **limits}


def endpoint_of(task: Task) -> TaskEndpoint:
    """Return how a task is asked."""
    return _ENDPOINTS[task]


def read_chat(content: bytes) -> Completion:
    """Return the chat completion that a body holds. Raises: ValueError: a field that is judged is missing."""
    answer = parse_answer(content)
    if not answer.model or not answer.finish:
        raise ValueError("it names no model or no finish reason")
    try:
        return Completion(
            model=answer.model,
            text=answer.text,
            tool_calls=tuple(map(_tool_call, answer.calls)),
            finish_reason=answer.finish,
            prompt_tokens=int(answer.usage["prompt_tokens"]),
            completion_tokens=int(answer.usage["completion_tokens"]),
            reasoning=answer.reasoning,
        )
    except _MALFORMED as error:
        raise ValueError(f"its usage is not whole: {error!r}") from error


def _read_completion(data: Mapping[str, Any]) -> Answer:
    choice, usage = data["choices"][0], data["usage"]
    finish = str(choice.get("finish_reason") or "")
    if not finish:
        raise ValueError("it names no finish reason")
    counted = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    return Completion(str(data["model"]), str(choice["text"] or ""), (), finish, *counted)


def _read_embedding(data: Mapping[str, Any]) -> Answer:
    vector = data["data"][0]["embedding"]
    if not isinstance(vector, list):
        raise TypeError("the embedding is not a list")
    numbers = tuple(map(_number, vector))  # pyright: ignore[reportUnknownArgumentType]
    return Embedding(str(data["model"]), numbers, int(data["usage"]["prompt_tokens"]))


def _read_score(data: Mapping[str, Any]) -> Answer:
    return Score(str(data["model"]), _number(data["data"][0]["score"]), int(data["usage"]["prompt_tokens"]))


def _number(value: Any) -> float:
    """Return the number; NaN for anything else. JSON has no NaN, so that some servers write null for it."""
    return float(value) if isinstance(value, int | float) else math.nan


def _read_by(read: Callable[[Mapping[str, Any]], Answer], wanted: str) -> Callable[[bytes], Answer]:
    def read_body(content: bytes) -> Answer:
        try:
            return read(json.loads(content))
        except _MALFORMED as error:
            shown = content[:200].decode("utf-8", "replace")
            raise ValueError(f"not {wanted} ({error!r}): {shown!r}") from error

    return read_body


def _tool_call(call: RawCall) -> ToolCall:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        arguments = None
    return ToolCall(call.name, arguments if isinstance(arguments, dict) else None)


def _chat(text: str) -> Mapping[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _prompt(text: str) -> Mapping[str, Any]:
    return {"prompt": text}


def _input(text: str) -> Mapping[str, Any]:
    return {"input": text, "encoding_format": "float"}


def _pair(text: str) -> Mapping[str, Any]:
    """The document differs from the query, and from other documents, so that no cache knows it."""
    return {"queries": text, "documents": f"About this: {text}"}


def _endpoint(
    task: Task,
    path: str,
    wanted: str,
    question: Callable[[str], Mapping[str, Any]],
    read: Callable[[Mapping[str, Any]], Answer],
) -> TaskEndpoint:
    return TaskEndpoint(task, path, wanted, question, _read_by(read, wanted))


_ENDPOINTS: Mapping[Task, TaskEndpoint] = {
    Task.CHAT: TaskEndpoint(Task.CHAT, "/chat/completions", "a chat completion", _chat, read_chat),
    Task.COMPLETION: _endpoint(Task.COMPLETION, "/completions", "a completion", _prompt, _read_completion),
    Task.EMBED: _endpoint(Task.EMBED, "/embeddings", "an embedding", _input, _read_embedding),
    Task.SCORE: _endpoint(Task.SCORE, "/score", "a score", _pair, _read_score),
}
