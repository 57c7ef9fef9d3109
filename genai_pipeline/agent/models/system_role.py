"""Serve models whose chat template has no system role: the system prompt becomes part of the first user message.

Templates of that kind end with an exception, which vLLM answers with 400. Examples are google/gemma-2-9b-it ("System
role not supported") and mistralai/Mistral-7B-Instruct-v0.1 ("Only user and assistant roles are supported").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_REFUSED = re.compile(
    r"system role|only user(, assistant)? and (assistant|model|tool) roles|roles must alternate", re.I
)

Message = Mapping[str, Any]


class SystemRole:
    """What one endpoint showed about the system role of its template."""

    def __init__(self) -> None:
        self._missing = False

    def messages(self, given: Sequence[Message]) -> list[Message]:
        """Return the messages in the form that the template takes."""
        return without_system_role(given) if self._missing else list(given)

    def is_refused(self, status: int, message: str, sent: Sequence[Message]) -> bool:
        """Return whether the same request may succeed without the system role; the next ones are sent like that."""
        refused = status == 400 and bool(_REFUSED.search(message)) and any(m.get("role") == "system" for m in sent)
        self._missing = self._missing or refused
        return refused


def without_system_role(messages: Sequence[Message]) -> list[Message]:
    """Put the text of the system prompt in front of the first user message."""
    prompt = "\n\n".join(_text(m["content"]) for m in messages if m.get("role") == "system")
    kept = [dict(m) for m in messages if m.get("role") != "system"]
    first = next((m for m in kept if m.get("role") == "user"), None)
    if not prompt or first is None:
        return list(messages)
    content = first["content"]
    part = {"type": "text", "text": prompt}
    first["content"] = f"{prompt}\n\n{content}" if isinstance(content, str) else [part, *content]
    return [*kept]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(str(part.get("text", "")) for part in content or ())
