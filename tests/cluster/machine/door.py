"""A way in from outside a node's network namespace: a listener here, connections there.

    python -m tests.cluster.machine.door <pid inside> <address inside> <port inside> <file for our port>

A socket belongs to the namespace in which it was made, so one process can stand in both. Nothing is left behind.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

CLONE_NEWNET = 0x40000000

_left: int | None = None


def enter_network(pid: int) -> None:
    """Move this process into the network namespace of another one. Raises OSError. Source: setns(2)."""
    global _left
    if _left is None:
        _left = os.open("/proc/self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace of process {pid}")


def outside_network() -> str:
    """The network namespace that this process was started in, as a path for nsenter."""
    return f"/proc/{os.getpid()}/ns/net" if _left is None else f"/proc/{os.getpid()}/fd/{_left}"


async def serve(listener: socket.socket, host: str, port: int) -> None:
    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection(host, port)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    async with await asyncio.start_server(pass_on, sock=listener) as server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


def main(pid: str, host: str, port: str, announce: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    enter_network(int(pid))
    ready = Path(f"{announce}.new")
    ready.write_text(str(listener.getsockname()[1]))
    os.replace(ready, announce)
    asyncio.run(serve(listener, host, int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
