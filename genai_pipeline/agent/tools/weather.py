"""The weather of a place, from a service with wttr.in's JSON (`GET /<place>?format=j1`).

The service's answers are untrusted. Their size is bounded and they may not be compressed. Redirects are followed to the
same scheme and host only. The only free text, the description, is cut to a plain phrase before a model reads it.
"""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from typing import Any
from urllib.parse import quote

import httpx

from genai_pipeline.agent.agent_errors import ToolError

MAX_ANSWER_BYTES = 256 * 1024
MAX_DESCRIPTION_CHARS = 60
MAX_PLACE_CHARS = 80
ATTEMPTS = 2
REDIRECTS = 2
_REDIRECTED = (301, 302, 303, 307, 308)
_PLACE = re.compile(r"['’‘-]?[^\W_][\w .,'’‘()–-]{0,79}")
"""Names of places. Slash, colon, percent, question and hash sign are not allowed: a place is one path segment."""


class WeatherService:
    """One weather service. Make and use it within one event loop."""

    def __init__(self, base_url: str, timeout_s: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(follow_redirects=False, timeout=timeout_s, transport=transport)

    async def current(self, place: str) -> str:
        """Return the weather as one line: `Zürich: light rain, 12°C, humidity 81%, wind 14 km/h`.

        Raises: ToolError: the place is unknown, the service did not answer, or its answer is malformed.
        """
        place = " ".join(unicodedata.normalize("NFC", place).split())
        letters = "".join(char for char in place if unicodedata.category(char)[0] != "M")  # `\w` has no vowel signs
        if not _PLACE.fullmatch(letters) or len(place) > MAX_PLACE_CHARS or ".." in place:
            raise ToolError(f"no weather is known for {place[:80]}")
        status, body = await self._get(f"{self._base_url}/{quote(place, safe='')}?format=j1")
        if status == 404:
            raise ToolError(f"no weather is known for {place}")
        if status != 200:
            raise ToolError(f"the weather service did not answer (HTTP {status})")
        return describe(place, body)

    async def close(self) -> None:
        await self._client.aclose()

    async def _get(self, url: str) -> tuple[int, bytes]:
        """Return status and body. Try once more if that may help."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with asyncio.timeout(self._timeout_s):  # the client's own timeout is per read, not for the whole
                    status, body = await self._get_once(url)
            except (TimeoutError, httpx.TimeoutException):
                problem = "timeout"
            except (httpx.HTTPError, httpx.InvalidURL, OSError):
                problem = "no connection"
            else:
                if status < 500 or attempt == ATTEMPTS:
                    return status, body
                continue
            if attempt == ATTEMPTS:
                raise ToolError(f"the weather service did not answer ({problem})")
        raise AssertionError("unreachable")

    async def _get_once(self, url: str) -> tuple[int, bytes]:
        for _ in range(REDIRECTS + 1):
            # Not compressed: the size of a compressed answer does not bound what it unpacks to.
            headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
            async with self._client.stream("GET", url, headers=headers) as response:
                target = response.headers.get("location")
                if response.status_code not in _REDIRECTED or not target:
                    return response.status_code, await _read(response)
                url = self._same_place(response.url, target)
                if not url:
                    return response.status_code, b""
        raise ToolError("the weather service did not answer (too many redirects)")

    def _same_place(self, asked: httpx.URL, target: str) -> str:
        """Return the target of a redirect within the same service, else "": others may be internal hosts."""
        try:
            there = asked.join(target)
        except (httpx.InvalidURL, ValueError):
            return ""
        same = (there.scheme, there.host, there.port) == (asked.scheme, asked.host, asked.port)
        return str(there) if same and not there.userinfo else ""


async def _read(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ToolError("the weather service did not answer (not weather data)")
    body = bytearray()
    async for chunk in response.aiter_bytes(16_384):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ToolError("the weather service did not answer (too much data)")
    return bytes(body)


def describe(place: str, body: bytes) -> str:
    """Return the line that the model reads. Raises: ToolError: the body is not wttr.in's JSON."""
    try:
        data: dict[str, Any] = json.loads(body)
        now = data["current_condition"][0]
        sky = _plain(now["weatherDesc"][0]["value"])
        celsius, humidity, wind = (int(now[key]) for key in ("temp_C", "humidity", "windspeedKmph"))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError, OverflowError) as error:
        raise ToolError("the weather service did not answer (not weather data)") from error
    facts = [sky, f"{celsius}°C", f"humidity {humidity}%", f"wind {wind} km/h"]
    demo = " (demo data)" if "demo data" in str(data.get("source", "")) else ""
    return f"{place}: {', '.join(filter(None, facts))}{demo}"


def _plain(description: str) -> str:
    words = re.sub(r"[^\w ,.'-]+", " ", description).split()
    return " ".join(words)[:MAX_DESCRIPTION_CHARS].strip().lower()
