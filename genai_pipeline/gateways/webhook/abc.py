"""A webhook that posts text where people read it. Its address is a secret: whoever has it may post."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Webhook(ABC):
    """The address is in no error, log or representation."""

    @abstractmethod
    def post(self, text: str) -> None:
        """Returns once it is taken.

        Raises: WebhookUnavailable: it did not answer, or not now; Refused: it takes nothing of this kind.
        """
