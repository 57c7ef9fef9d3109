"""Runs inside the Serve proxies of this machine's Ray pods: lets each listen on the address of its own pod.

Serve binds all proxies of a Ray cluster to one address, which is right where each pod has a network of its own. On one
machine a second listener, made where Serve asks for middlewares, serves the same app at the pod's address.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
from typing import Any

import uvicorn
from starlette.middleware import Middleware


class AtPodAddress:
    """ASGI middleware that changes nothing. It serves what it wraps at `GENAI_SERVE_ADDRESS`, too.

    Raises: OSError: the address is taken. Serve then starts the proxy again.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        host, _, port = os.environ["GENAI_SERVE_ADDRESS"].partition(":")
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, int(port)))
        config = uvicorn.Config(
            app,
            timeout_keep_alive=int(os.environ["GENAI_SERVE_KEEP_ALIVE_S"]),
            lifespan="off",
            access_log=False,
            log_level=None,
            log_config=None,
        )
        self._serving = asyncio.get_running_loop().create_task(uvicorn.Server(config).serve(sockets=[listening]))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return what the pod's own callback gives, and outside of it the listener."""
    module, _, function = os.environ["GENAI_SERVE_PROXY_CALLBACK"].partition(":")
    own = getattr(importlib.import_module(module), function)() if module else []
    return [*own, Middleware(AtPodAddress)]
