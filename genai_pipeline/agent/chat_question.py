"""Read the body of POST /v1/chat/completions: the conversation so far, whose last message is the question.

Fields that would change the form of the answer are refused unless they ask for what the agent does. All others (the
sampling, the length, the client's tools) are the agent's own matter: they are left out, and the answer names them.
Source of the format: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genai_pipeline.agent.agent_errors import AgentError

EXAMPLE = 'Send {"model": "…", "messages": [{"role": "user", "content": "What time is it in Tokyo?"}]}.'
_REASONS = {
    "tool_choice": "The agent calls its own tools and none of the client's. Send auto or none, or leave it out.",
    "function_call": "The agent calls its own tools and none of the client's. Send auto or none, or leave it out.",
    "n": "The agent gives one answer. Send 1, or leave it out.",
    "response_format": "The agent answers in plain text. Send the type text, or leave it out.",
    "logprobs": "The agent has no probabilities of tokens. Send false, or leave it out.",
    "role": "The roles are system, developer, user and assistant. The agent calls its own tools, so tool has no place.",
    "type": "Each part of a message must have the type text.",
}
"""Why a field, or a field of a message, may not have the given value."""
_NAMEABLE = re.compile(r"[a-z_]{1,40}")
_MOST_NAMED = 20
_UNION_MEMBERS = ("str", "list[TextPart]")
"""pydantic's names for the two forms of a message's content."""

_READ = ConfigDict(strict=True)


class TextPart(BaseModel):
    """A part of a message."""

    model_config = _READ

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message of the conversation. An assistant's message may be empty; it is left out then."""

    model_config = _READ

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """The message's words. A half of a surrogate pair, which an earlier answer may hold, is replaced."""
        content = self.content or ""
        text = content if isinstance(content, str) else "\n".join(part.text for part in content)
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class PlainText(BaseModel):
    """The only form of an answer."""

    model_config = _READ

    type: Literal["text"]


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    model_config = _READ

    include_usage: bool | None = None


class ChatQuestion(BaseModel):
    """A question with the conversation before it, as OpenAI's clients send it."""

    model_config = _READ

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tool_choice: Literal["auto", "none"] | None = None
    function_call: Literal["auto", "none"] | None = None
    n: Literal[1] | None = None
    response_format: PlainText | None = None
    logprobs: Literal[False] | None = None

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


@dataclass(frozen=True)
class Talk:
    """A question with all that it needs, apart from any session.

    Args:
        system: the client's own instructions, or an empty text.
        history: the messages before the question, as Strands keeps them.
    """

    system: str
    history: list[Any]
    prompt: str


def parse_chat(data: Mapping[str, Any]) -> ChatQuestion:
    """Raises: AgentError: 400; it names the field, and what is allowed there."""
    try:
        return ChatQuestion.model_validate(data)
    except ValidationError as error:
        problems = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "literal_error")
        raise _refusal(problems[0]) from error


def ignored_fields(data: Mapping[str, Any]) -> list[str]:
    """Return the fields of a body that change nothing, in order. Names that no API has are not repeated."""
    given = {name for name, value in data.items() if value is not None and _NAMEABLE.fullmatch(name)}
    return sorted(given - set(ChatQuestion.model_fields))[:_MOST_NAMED]


def talk_of(question: ChatQuestion, max_prompt_chars: int) -> Talk:
    """Return the conversation with the last message as its question.

    Messages of one role in a row become one message, because many models want the roles in turn.

    Raises: AgentError: 400; the last message is not a question, or it is too long, or the instructions are.
    """
    last, spoken = question.messages[-1], [m for m in question.messages if m.text.strip()]
    if last.role != "user" or not last.text.strip():
        hint = f"The last message must be the user's question, with text. {EXAMPLE}"
        raise AgentError(400, "bad_prompt", hint, param="messages")
    system = _joined([m for m in spoken if m.role in ("system", "developer")])
    for what, text in (("last message", last.text), ("system prompt", system)):
        if len(text) > max_prompt_chars:
            message = f"The {what} has {len(text)} characters; {max_prompt_chars} are allowed. Shorten it."
            raise AgentError(400, "prompt_too_long", message, param="messages")
    said = [m for m in spoken if m.role in ("user", "assistant")]
    turns = [(role, _joined(list(group))) for role, group in groupby(said, key=lambda m: m.role)]
    history = [{"role": role, "content": [{"text": text}]} for role, text in turns[:-1]]
    return Talk(system, history, turns[-1][1])


def _joined(messages: Sequence[ChatMessage]) -> str:
    return "\n\n".join(message.text for message in messages)


def _refusal(problem: Any) -> AgentError:
    """Return the answer to one problem that pydantic found."""
    place = [str(part) for part in problem["loc"] if part not in _UNION_MEMBERS]
    param = re.sub(r"\.(\d+)", r"[\1]", ".".join(place))
    reasons = [_REASONS[part] for part in place if part in _REASONS]
    if reasons and problem["type"] == "literal_error":
        message = f"{param} cannot have this value. {reasons[0]}"
    else:
        message = f"{param} is wrong ({problem['msg']}). {EXAMPLE}"
    return AgentError(400, "bad_request", message, param=param)
