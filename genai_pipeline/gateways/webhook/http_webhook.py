"""Posts to Slack's webhook and compatible ones: POST {"text": …}. Source: Slack, "Incoming webhooks".

It uses urllib, because httpx logs the address of every request.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from genai_pipeline.core.errors import Refused, WebhookUnavailable
from genai_pipeline.gateways.webhook.abc import Webhook

VARIABLE = "GENAI_WEBHOOK_URL"
TIMEOUT_S = 5.0
"""Seconds for connecting, and for each read. The caller bounds the whole."""
AGAIN = frozenset({408, 425, 429})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: one would send the text to another address, as a GET."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class HttpWebhook(Webhook):
    """A webhook over HTTP. Only `post` and `send` refuse a wrong address, so that nothing else fails.

    Args:
        url: http:// or https://.
        variable: the environment variable that it came from, for what an error says.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S, variable: str = VARIABLE) -> None:
        self._url, self._timeout_s, self._variable = url, timeout_s, variable
        self._opener = urllib.request.build_opener(_NoRedirect())

    def __repr__(self) -> str:
        return "HttpWebhook(…)"

    def post(self, text: str) -> None:
        self.send(json.dumps({"text": text}, ensure_ascii=False).encode())

    def send(self, body: bytes) -> None:
        """Post JSON as it is.

        Raises: WebhookUnavailable: no answer, or one that may change; Refused: it does not accept such requests.
        """
        if not self._url.startswith(("https://", "http://")):
            raise Refused(f"{self._variable} is not an address of a webhook.", f"It begins with https://. {self._off}")
        try:
            request = urllib.request.Request(self._url, body, {"Content-Type": "application/json; charset=utf-8"})
            with self._opener.open(request, timeout=self._timeout_s):
                return
        except urllib.error.HTTPError as error:
            error.close()
            why = self._refused(error.code) if 300 <= error.code < 500 and error.code not in AGAIN else None
            failure = why or WebhookUnavailable(f"The webhook answered {error.code}.", "The pipeline tries again.")
        except (OSError, ValueError, http.client.HTTPException) as error:
            kind = type(getattr(error, "reason", error)).__name__  # its words may hold the address
            failure = WebhookUnavailable(f"The webhook did not answer ({kind}).", "The pipeline tries again.")
        raise failure from None

    @property
    def _off(self) -> str:
        return f"Unset {self._variable} to turn it off."

    def _refused(self, status: int) -> Refused:
        return Refused(f"The webhook answered {status}.", f"Correct {self._variable}. {self._off}")
