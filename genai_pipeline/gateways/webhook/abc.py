"""The interface to a webhook that posts text to people. Its address is a secret: everyone who has it can post."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Webhook(ABC):
    """A webhook. No error, log or representation contains its address."""

    @abstractmethod
    def post(self, text: str) -> None:
        """Post a text, and return once the webhook has accepted it.

        Raises: WebhookUnavailable: no answer, or one that may change; Refused: it does not accept such requests.
        """
