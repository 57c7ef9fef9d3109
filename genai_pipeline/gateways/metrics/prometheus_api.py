"""One query of Prometheus' HTTP API: asked again while the server is busy, and a refusal in the server's own words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.aws.denials import safe_words
from genai_pipeline.gateways.backoff import backoff_s, retry_after_s
from genai_pipeline.gateways.metrics.amazon_workspace import QUERY, workspace_of
from genai_pipeline.gateways.metrics.sigv4 import SigV4

REFUSALS = (401, 403)
BUSY = (429, 502, 503, 504)
TRIES = 3
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 2.0
"""A watch looks at every model within a budget, so a query that is asked again must not take it all."""
OTHER_CLOCK = ("signature expired", "signature not yet current")


class PrometheusApi:
    """Asks one Prometheus.

    Args:
        url: address of the API, without `/api/v1`.
        pause: waits so many seconds before the same query is sent again.
    """

    def __init__(self, url: str, auth: httpx.Auth | None = None, pause: Callable[[float], None] = time.sleep) -> None:
        self.url = url.rstrip("/")
        self.auth = auth
        self._pause = pause
        self._client = httpx.Client(timeout=10, auth=auth, trust_env=False)

    def ask(self, promql: str, at: float | None = None) -> dict[str, Any]:
        """Return the `data` of an answer.

        Args:
            at: Unix time to evaluate at, or None for now.

        Raises: EngineUnavailable: it refuses, is busy, or is no Prometheus.
        """
        fields = {"query": promql} | ({} if at is None else {"time": f"{at:.3f}"})
        try:
            response = self._answered(fields)
            if response.status_code in REFUSALS:
                raise self._refused(response)
            if response.status_code in BUSY:
                raise self._busy(response)
            body = _body_of(response)
            if response.is_error and (not isinstance(body, dict) or "status" not in body):
                words = f"{self.url} answered HTTP {response.status_code}: {_words_of(response)}."
                raise EngineUnavailable(words, "Check GENAI_PROMETHEUS_URL.")
            if body["status"] != "success":
                raise EngineUnavailable(
                    f"{self.url} refused {promql!r}: {body.get('error', body)}.", "Is it a Prometheus?"
                )
            return body["data"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EngineUnavailable(
                f"{self.url} did not answer as Prometheus does: {error!r}.", "Check GENAI_PROMETHEUS_URL."
            ) from error

    def _answered(self, fields: dict[str, str]) -> httpx.Response:
        """Ask until the server is no longer busy, at most three times."""
        for failures in range(1, TRIES):
            response = self._client.post(f"{self.url}/api/v1/query", data=fields)
            if response.status_code not in BUSY:
                return response
            self._pause(backoff_s(failures, FIRST_WAIT_S, retry_after_s(response.headers), LONGEST_WAIT_S))
        return self._client.post(f"{self.url}/api/v1/query", data=fields)

    def _refused(self, response: httpx.Response) -> EngineUnavailable:
        words, workspace = _words_of(response), workspace_of(self.url)
        remedy = "Check the credentials, and who may query that Prometheus."
        if workspace and isinstance(self.auth, SigV4):
            region = self.auth.region
            remedy = f"{workspace.needs(QUERY, 'this process', region)} Requests are signed for region {region}."
            if words.lower().startswith(OTHER_CLOCK):
                remedy = f"Set the clock of this machine. {remedy}"
        return EngineUnavailable(f"{self.url} refused (HTTP {response.status_code}): {words}.", remedy)

    def _busy(self, response: httpx.Response) -> EngineUnavailable:
        remedy = "Ask again later. If it lasts, ask for less at once, or for a higher quota of the workspace."
        words = f"{self.url} answered HTTP {response.status_code} {TRIES} times: {_words_of(response)}."
        return EngineUnavailable(words, remedy)


def _body_of(response: httpx.Response) -> Any:
    """Return the body of an answer. That of an error may be plain text."""
    try:
        return response.json()
    except ValueError:
        if response.is_error:
            return response.text
        raise


def _words_of(response: httpx.Response) -> str:
    """Return why a request was refused. AWS and proxies do not write it as Prometheus does."""
    body = _body_of(response)
    if isinstance(body, dict):
        body = next((body[name] for name in ("message", "Message", "error") if body.get(name)), "")
    return (safe_words(body) if isinstance(body, str) else "") or response.reason_phrase
