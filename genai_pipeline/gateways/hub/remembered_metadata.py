"""Small answers of the hub's API, which are sent again only if they have changed.

huggingface_hub has no conditional requests. Its session, headers and errors are used here, with `If-None-Match` added.
Source: RFC 9110, "Conditional Requests", 13.1.2.
"""

from __future__ import annotations

import threading
from typing import Any, Literal


class RememberedMetadata:
    """Thread-safe. The server is asked every time; it does not send an unchanged body again."""

    def __init__(self, endpoint: str, token: str | Literal[False], timeout_s: float) -> None:
        self._endpoint = endpoint
        self._token = token
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}

    def get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        """Return the JSON object at /api/models/<path>.

        Raises: the errors of huggingface_hub and its HTTP client. ValueError: the answer is not a JSON object.
        """
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        with self._lock:
            etag, known = self._known.get(path, ("", {}))
        headers = build_hf_headers(token=self._token) | ({"If-None-Match": etag} if etag else {})
        url = f"{self._endpoint}/api/models/{path}"
        answer = get_session().get(url, headers=headers, params=query, timeout=self._timeout_s)
        if answer.status_code == 304 and etag:
            return known
        hf_raise_for_status(answer)
        found = answer.json()
        if not isinstance(found, dict):
            raise ValueError("the answer is not a JSON object")
        with self._lock:
            self._known[path] = (answer.headers.get("ETag", ""), found)
        return found
