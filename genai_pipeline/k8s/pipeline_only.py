"""Runs inside an engine's pod as vLLM's `--middleware`: answers what only the pipeline may ask.

    GET /genai/compile-cache    what this engine has compiled, as a tar; 204: nothing to keep; 409: one is on its way
    GET /genai/restored         what the init container restored, as JSON

The pipeline knows the pod's token. For everybody else these paths do not exist. So an engine needs no right to write to
the store, where its archive is code for the next engine.

It needs the standard library only, and `restoring.py` beside it. Annotations bring both.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import tarfile
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import IO, Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

restoring: Any = import_module(__name__.removesuffix("pipeline_only") + "restoring")
"""In a pod the names of both files begin with `genai_`."""

CACHE, RESTORED = "/genai/compile-cache", "/genai/restored"
HEADER = b"x-genai-pipeline-token"
LEFT_OUT = ("*.lock", "*.log")
CHUNK = 2**20


class PipelineOnly:
    """ASGI middleware. Everything that takes time runs in threads: the engine answers its users meanwhile."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._token = os.environ.get("GENAI_PIPELINE_TOKEN", "").encode()
        self._home = Path(os.environ.get("HOME") or "/tmp")
        self._busy = False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in (CACHE, RESTORED) or not self._is_pipeline(scope):
            await self._app(scope, receive, send)
        elif scope["path"] == RESTORED:
            await self._restored(send)
        elif self._busy:
            await _reply(send, 409)
        else:
            await self._compile_cache(receive, send)

    def _is_pipeline(self, scope: MutableMapping[str, Any]) -> bool:
        given = next((value for name, value in scope["headers"] if name.lower() == HEADER), b"")
        return bool(self._token) and scope["method"] == "GET" and hmac.compare_digest(given, self._token)

    async def _restored(self, send: Send) -> None:
        try:
            body = await asyncio.to_thread((self._home / restoring.SAID).read_bytes)
        except OSError:
            await _reply(send, 404)
        else:
            await _reply(send, 200, {"content-type": "application/json"}, body)

    async def _compile_cache(self, receive: Receive, send: Send) -> None:
        self._busy = True
        stopped = threading.Event()
        packing = asyncio.ensure_future(asyncio.to_thread(pack, self._home, stopped))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({packing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if packing.done() and packing.result().file:
                await _send_archive(send, packing.result(), gone)
            elif packing.done():
                await _reply(send, packing.result().status, {"x-genai-reason": packing.result().why})
        finally:
            stopped.set()
            gone.cancel()
            packing.add_done_callback(self._free)

    def _free(self, packing: asyncio.Future[Packed]) -> None:
        """Allow the next request, once the thread has ended and its file is gone."""
        self._busy = False
        if not packing.cancelled() and (file := packing.result().file):
            file.close()


@dataclass(frozen=True)
class Packed:
    """An archive that vanishes when it is closed, or why there is none."""

    status: int
    file: IO[bytes] | None = None
    size: int = 0
    made_with: str = ""
    why: str = ""


def pack(home: Path, stopped: threading.Event, most_bytes: int = restoring.MOST_BYTES) -> Packed:
    """Pack what the engine has compiled. Files that vanish meanwhile are left out."""
    try:
        file = tempfile.TemporaryFile(dir=home)  # noqa: SIM115 - it is sent later
    except OSError as error:
        return Packed(503, why=f"no room for an archive: {error}")
    try:
        why, status = _fill(file, home, stopped, most_bytes)
    except (OSError, tarfile.TarError) as error:  # a full disk, or a file that shrank while it was read
        why, status = f"{type(error).__name__}: {error}", 503
    if why:
        file.close()
        return Packed(status, why=why)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return Packed(200, file, size, json.dumps(restoring.made_with()))


def _fill(file: IO[bytes], home: Path, stopped: threading.Event, most_bytes: int) -> tuple[str, int]:
    """Write the archive. Return an empty text, or why it is not to be used and the status that says so."""
    empty = True
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(_files(home)):
            if stopped.is_set():
                return "the client has gone", 503
            with suppress(FileNotFoundError), path.open("rb") as content:
                about = os.fstat(content.fileno())
                if file.tell() + about.st_size > most_bytes:
                    return f"more than {most_bytes} bytes", 204
                member = tarfile.TarInfo(str(path.relative_to(home)))
                member.size, member.mode = about.st_size, about.st_mode & 0o755
                member.mtime = about.st_mtime  # ninja builds again what is older than its sources
                tar.addfile(member, content)
                empty = False
    return ("nothing was compiled" if empty else ""), 204


def _files(home: Path) -> Iterator[Path]:
    """Yield the files of the caches. Links are not followed, and not kept."""
    for root in (found for pattern in restoring.ROOTS for found in home.glob(pattern)):
        if root.is_symlink():
            continue
        for folder, _, names in os.walk(root):
            paths = (Path(folder, name) for name in names if not any(fnmatchcase(name, left) for left in LEFT_OUT))
            yield from (path for path in paths if path.is_file() and not path.is_symlink())
        if root.is_file():
            yield root


async def _send_archive(send: Send, packed: Packed, gone: asyncio.Future[None]) -> None:
    assert packed.file
    headers = {"content-type": "application/x-tar", "x-genai-made-with": packed.made_with}
    await _start(send, 200, headers, packed.size)
    while chunk := await asyncio.to_thread(packed.file.read, CHUNK):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if gone.done():
            return
    await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reply(send: Send, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
    await _start(send, status, headers or {}, len(body))
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, status: int, headers: dict[str, str], length: int) -> None:
    given = [(name.encode(), value.encode("ascii", "replace")) for name, value in headers.items()]
    size = [] if status == 204 else [(b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": status, "headers": [*given, *size]})
