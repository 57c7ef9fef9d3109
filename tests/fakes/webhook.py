"""A webhook that keeps what it is sent, and may refuse, be down, or hang."""

from __future__ import annotations

import threading

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.gateways.webhook.abc import Webhook


class FakeWebhook(Webhook):
    """Attributes: answer: raised instead of taking a text. held: while it is set, no answer comes."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.answer: GenaiError | None = None
        self.calls = 0
        self.open = threading.Event()
        self.open.set()

    def post(self, text: str) -> None:
        self.calls += 1
        self.open.wait(30)
        if self.answer:
            raise self.answer
        self.texts.append(text)
