"""How each task is asked, and which bodies are an answer. The shapes are those of vLLM 0.32 and 0.33."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from genai_pipeline.core.task import Task
from genai_pipeline.gateways.inference.abc import Completion, Embedding, Score
from genai_pipeline.gateways.inference.task_endpoint import endpoint_of

USAGE = {"prompt_tokens": 7, "total_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None}
HEAD = {"id": "x-1", "created": 1, "model": "m", "usage": USAGE}
CHAT = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
}
COMPLETION = {
    "object": "text_completion",
    "choices": [{"index": 0, "text": " there", "logprobs": None, "finish_reason": "length", "stop_reason": None}],
}
EMBEDDING = {"object": "list", "data": [{"index": 0, "object": "embedding", "embedding": [0.5, -0.5, 0]}]}
SCORE = {"object": "list", "data": [{"index": 0, "object": "score", "score": 0.25}]}
BODIES: dict[Task, dict[str, Any]] = {
    Task.CHAT: HEAD | CHAT,
    Task.COMPLETION: HEAD | COMPLETION,
    Task.EMBED: HEAD | EMBEDDING,
    Task.SCORE: HEAD | SCORE,
}


def read(task: Task, body: Any) -> Completion | Embedding | Score:
    return endpoint_of(task).read(json.dumps(body).encode())


@pytest.mark.parametrize("task", Task)
def test_every_task_has_an_endpoint_whose_answer_counts_tokens(task: Task):
    answer = read(task, BODIES[task])

    assert (answer.model, answer.prompt_tokens, answer.fault) == ("m", 7, "")
    assert answer.completion_tokens == (2 if task.generates else 0)
    assert answer.said


def test_the_texts_stand_where_the_endpoint_reads_them_and_only_what_generates_has_a_limit():
    bodies = {task: endpoint_of(task).body("m", "Hello", 4) for task in Task}

    limits = {"model": "m", "max_tokens": 4, "temperature": 0}
    assert bodies[Task.CHAT] == limits | {"messages": [{"role": "user", "content": "Hello"}]}
    assert bodies[Task.COMPLETION] == limits | {"prompt": "Hello"}
    assert bodies[Task.EMBED] == {"model": "m", "input": "Hello", "encoding_format": "float"}
    assert bodies[Task.SCORE].keys() == {"model", "queries", "documents"}
    assert bodies[Task.SCORE]["queries"] == "Hello" != bodies[Task.SCORE]["documents"]


@pytest.mark.parametrize(
    ("vector", "is_answer"),
    [
        ([0.1, 0.0, -3], True),
        ([0.0, 0.0], False),
        ([], False),
        ([0.1, None], False),
        ([0.1, math.nan], False),
        ([math.inf, 1.0], False),
        ([0.1, "0.2"], False),
    ],
)
def test_an_embedding_is_finite_numbers_that_are_not_all_zero(vector: list[Any], is_answer: bool):
    body = HEAD | {"data": [{"index": 0, "embedding": vector}]}

    assert (read(Task.EMBED, body).fault == "") is is_answer


@pytest.mark.parametrize(("score", "is_answer"), [(0, True), (-7.5, True), (None, False), (math.nan, False)])
def test_a_score_is_a_finite_number(score: Any, is_answer: bool):
    assert (read(Task.SCORE, HEAD | {"data": [{"index": 0, "score": score}]}).fault == "") is is_answer


@pytest.mark.parametrize(
    ("text", "tokens", "is_answer"), [("Hi", 1, True), ("", 1, False), ("  ", 3, False), ("Hi", 0, False)]
)
def test_a_completion_is_an_answer_if_something_was_generated(text: str, tokens: int, is_answer: bool):
    choice = {"index": 0, "text": text, "finish_reason": "length"}
    body = HEAD | {"choices": [choice], "usage": USAGE | {"completion_tokens": tokens}}

    assert (read(Task.COMPLETION, body).fault == "") is is_answer


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("spoilt", ["choices", "data", "usage", "model"])
def test_a_body_that_lacks_what_is_judged_is_no_answer_of_the_task(task: Task, spoilt: str):
    if spoilt not in BODIES[task]:
        return
    body = {name: value for name, value in BODIES[task].items() if name != spoilt}

    with pytest.raises(ValueError, match=r"."):
        read(task, body)


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"null", b"\xff\xfe", b"<html>", b'{"data": [], "choices": []}']
)
def test_what_is_not_such_a_body_is_a_value_error(task: Task, content: bytes):
    with pytest.raises(ValueError, match=r"."):
        endpoint_of(task).read(content)


def test_a_base64_embedding_is_refused_because_floats_were_asked_for():
    with pytest.raises(ValueError, match="embedding"):
        read(Task.EMBED, HEAD | {"data": [{"index": 0, "embedding": "AAAA"}]})
