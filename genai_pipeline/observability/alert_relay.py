"""Passes what Alertmanager sends on to a webhook, whose address stays out of Alertmanager.

Alertmanager before 0.26 writes the addresses of webhooks into its log, and shows them to everyone on the machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genai_pipeline.core.errors import Refused, WebhookUnavailable
from genai_pipeline.gateways.webhook.http_webhook import HttpWebhook
from genai_pipeline.observability.exporter_site import JSON, App, Environ, answered

ALERT_WEBHOOK = "GENAI_ALERT_WEBHOOK"
MOST_BYTES = 4 * 1024 * 1024
_PLAIN = "text/plain; charset=utf-8"


def alert_relay(address: Path) -> App:
    """Return an application that takes POST requests of Alertmanager.

    Args:
        address: file with the address of the webhook. It is read for each request.
    """

    def app(environ: Environ, start: Any) -> Iterable[bytes]:
        # A page in a browser cannot send this type elsewhere without asking first, and is not answered then.
        if environ["REQUEST_METHOD"] != "POST" or not str(environ.get("CONTENT_TYPE")).startswith(JSON):
            return answered(start, "405 Method Not Allowed", _PLAIN, b"Alertmanager posts JSON here.")
        length = str(environ.get("CONTENT_LENGTH"))
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return answered(start, "413 Content Too Large", _PLAIN, b"too large, or of no known length")
        try:
            url = address.read_text().strip()
        except FileNotFoundError:
            return answered(start, "503 Service Unavailable", _PLAIN, f"{ALERT_WEBHOOK} is not set.".encode())
        try:
            HttpWebhook(url, variable=ALERT_WEBHOOK).send(environ["wsgi.input"].read(int(length)))
        except WebhookUnavailable as error:  # Alertmanager tries again after 5xx, and never after 4xx
            return answered(start, "503 Service Unavailable", _PLAIN, str(error).encode())
        except Refused as error:
            return answered(start, "400 Bad Request", _PLAIN, str(error).encode())
        return answered(start, "200 OK", _PLAIN, b"")

    return app
