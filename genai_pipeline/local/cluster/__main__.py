"""`python -m genai_pipeline.local.cluster --home .genai --port 8591`: the local cluster's daemon.

SIGTERM ends it and leaves the pods running; the next one takes them over. It starts supervisord if none runs.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import uvicorn

from genai_pipeline.core.errors import GenaiError, Refused
from genai_pipeline.local.cluster.api import application
from genai_pipeline.local.cluster.control_plane import ControlPlane
from genai_pipeline.local.supervision.supervisor import Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(prog="genai_pipeline.local.cluster", description="The local cluster.")
    parser.add_argument("--home", type=Path, default=Path(".genai"), help="state folder")
    parser.add_argument("--port", type=int, default=8591, help="loopback port of the API")
    parser.add_argument("--backoff", type=float, default=2.0, help="seconds before a container's second restart")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    home = given.home.absolute()
    try:
        with _only_one(home):
            listening = _listen(given.port)
            Supervisor(home).ensure_running()
            asyncio.run(_serve(home, listening, given.backoff))
    except GenaiError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own would end the process by the signal before our ports are closed."""
        yield


async def _serve(home: Path, listening: socket.socket, backoff_s: float) -> None:
    plane = ControlPlane(home, backoff_s)
    config = uvicorn.Config(
        application(plane, str(home)),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,
    )
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    reconciling = asyncio.create_task(plane.run())
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await asyncio.wait({reconciling, serving}, return_when=asyncio.FIRST_COMPLETED)
    plane.close()
    reconciling.cancel()
    with suppress(asyncio.CancelledError):
        await reconciling


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # or asyncio sets no TCP_NODELAY
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError as error:
        raise Refused(f"Port {port} of 127.0.0.1 is taken.", "Give another one with --port.") from error
    return listening


def _only_one(home: Path) -> IO[str]:
    folder = home / "cluster"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = (folder / "daemon.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        raise Refused(
            f"A cluster for {home} runs already, as process {lock.read().strip()}.",
            "Use that one, or give this one another --home.",
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


if __name__ == "__main__":
    sys.exit(main())
