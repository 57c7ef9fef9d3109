import json
from typing import Any

import pytest

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.question import limited_question, parse_question

JSON = "application/json"
Question = limited_question(max_prompt_chars=20)


def refusal(body: bytes | dict[str, Any], content_type: str = JSON) -> AgentError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(AgentError) as error:
        parse_question(raw, content_type, Question)
    return error.value


def test_a_prompt_alone_starts_a_session():
    assert parse_question(b'{"prompt": "Hi"}', JSON, Question) == Question(prompt="Hi")


def test_a_session_id_and_unicode_are_kept():
    question = parse_question('{"prompt": "Zürich ☂", "session_id": "abcdefgh-0123_XYZ"}'.encode(), JSON, Question)

    assert question == Question(prompt="Zürich ☂", session_id="abcdefgh-0123_XYZ")


@pytest.mark.parametrize("body", [b"", b"hello", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_a_json_object_is_refused_with_an_example(body: bytes):
    error = refusal(body)

    assert (error.status, error.code) == (400, "not_json")
    assert '{"prompt":' in error.message


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(content_type: str):
    error = refusal({"prompt": "Hi"}, content_type)

    assert (error.status, error.code) == (415, "not_json")


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({}, "bad_prompt", "missing"),
        ({"prompt": None}, "bad_prompt", "not a string"),
        ({"prompt": 5}, "bad_prompt", "not a string"),
        ({"prompt": ["Hi"]}, "bad_prompt", "not a string"),
        ({"prompt": ""}, "bad_prompt", "empty"),
        ({"prompt": " \n\t"}, "bad_prompt", "empty"),
        ({"prompt": "x" * 21}, "prompt_too_long", "20 are allowed"),
        ({"prompt": "\ud800"}, "bad_prompt", "surrogate"),
        ({"promt": "Hi"}, "unknown_field", "Did you mean prompt?"),
        ({"prompt": "Hi", "model": "x"}, "unknown_field", "known fields are prompt and session_id"),
        ({"prompt": "Hi", "session_id": ""}, "bad_session_id", "16 to 64"),
        ({"prompt": "Hi", "session_id": "short"}, "bad_session_id", "16 to 64"),
        ({"prompt": "Hi", "session_id": "x" * 65}, "bad_session_id", "16 to 64"),
        ({"prompt": "Hi", "session_id": "../../../etc/passwd"}, "bad_session_id", "16 to 64"),
        ({"prompt": "Hi", "session_id": "abcdefgh01234567\n"}, "bad_session_id", "16 to 64"),
        ({"prompt": "Hi", "session_id": 1234567890123456}, "bad_session_id", "16 to 64"),
    ],
)
def test_each_mistake_has_a_code_and_a_remedy(body: dict[str, Any], code: str, words: str):
    error = refusal(body)

    assert (error.status, error.code) == (400, code)
    assert words in error.message
