"""An agent service over HTTP."""

from __future__ import annotations

from typing import Any

from genai_pipeline.core.errors import AgentUnavailable, Refused
from genai_pipeline.gateways.agent.abc import AgentAnswer, AgentEndpoint
from genai_pipeline.gateways.agent.keys import REFUSED, REMEDY, key_headers, without_key

RELEASE_HEADER = "X-Genai-Release"


class HttpAgent(AgentEndpoint):
    """`POST {base_url}/agent`; a new connection for each request, so that it follows the selector."""

    def __init__(self, base_url: str, deadline_s: float = 60) -> None:
        self.base_url = base_url.rstrip("/")
        self._deadline_s = deadline_s

    def release(self) -> str | None:
        return self._request("GET", "/readyz", None)[1]

    def ask(self, prompt: str) -> AgentAnswer:
        answer, _ = self._request("POST", "/agent", {"prompt": prompt})
        try:
            return AgentAnswer(answer["response"], tuple(answer.get("tools", ())))
        except (KeyError, TypeError) as error:
            raise AgentUnavailable(
                f"{self.base_url}/agent answered without {error}.", "Is this the agent service?"
            ) from error

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[Any, str | None]:
        import httpx  # slow to import, and only runs need it

        url = self.base_url + path
        try:
            response = httpx.request(method, url, json=body, headers=key_headers(), timeout=self._deadline_s)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            what = f"{url} did not answer: {without_key(repr(error))}."
            raise AgentUnavailable(what, "See `genai logs agent`.") from error
        what = f"{url} answered {response.status_code}: {without_key(str(answer))}."
        if response.status_code in REFUSED:
            raise AgentUnavailable(what, REMEDY)
        if response.status_code >= 500:
            raise AgentUnavailable(what, "See `genai logs agent`.")
        if response.status_code >= 400:
            raise Refused(what)
        return answer, response.headers.get(RELEASE_HEADER)
