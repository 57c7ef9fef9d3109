"""Read a request's body, no more of it than is allowed and no longer than a client needs."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from genai_pipeline.agent.errors import AgentError

READ_DEADLINE_S = 10.0
DRAIN_FACTOR = 16
"""A body up to so many limits is read to its end and thrown away: a client that still sends reads no answer."""


async def read_body(request: Request, max_bytes: int, deadline_s: float = READ_DEADLINE_S) -> bytes:
    """Raises: AgentError: 413 too large, 408 too slow, 400 gone."""
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(deadline_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= max_bytes:
                    body += chunk
                elif size > DRAIN_FACTOR * max_bytes:
                    break
    except TimeoutError as error:
        raise AgentError(408, "body_too_slow", f"The body did not arrive within {deadline_s:g} s.") from error
    except ClientDisconnect as error:
        raise AgentError(400, "bad_request", "The connection ended before the body did.") from error
    if size > max_bytes:
        raise AgentError(413, "body_too_large", f"The body is larger than {max_bytes} bytes. Shorten it.")
    return bytes(body)
