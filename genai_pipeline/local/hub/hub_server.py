"""A model hub over a folder, which the real huggingface_hub client takes for the public one (HF_ENDPOINT).

    python -m genai_pipeline.local.hub.hub_server --folder demo/hub --state .genai/hub --port 8590

Metadata is open, files of a gated repository need a token, large files are reached over a redirect to a signed
address that expires: all as on the public hub, so that the pipeline meets it all on a laptop too. Loopback only.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, quote, unquote, urlsplit

from genai_pipeline.core.errors import GenaiError, RepositoryNotFound, RevisionNotFound
from genai_pipeline.local.hub import hub_api
from genai_pipeline.local.hub.hub_digests import HubFile
from genai_pipeline.local.hub.hub_ranges import Unsatisfiable, byte_range
from genai_pipeline.local.hub.hub_refs import Repository, Revision, repositories, repository

IDLE_CONNECTION_S = 60
LINK_VALID_S = 3600
TRUE = ("true", "True", "1")


class HubServer(ThreadingHTTPServer):
    """Serves on 127.0.0.1. `tokens` open gated repositories; `link_valid_s` is the life of a signed address."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        folder: Path,
        state: Path,
        port: int = 0,
        tokens: frozenset[str] = frozenset(),
        link_valid_s: int = LINK_VALID_S,
    ) -> None:
        self.folder, self.state, self.tokens, self.link_valid_s = folder.resolve(), state, tokens, link_valid_s
        self._key = secrets.token_bytes(32)
        self.listed: dict[tuple[Path, str], Revision] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def signed(self, path: str) -> str:
        """An address of a large file that needs no token for a while."""
        expires = int(time.time()) + self.link_valid_s
        return f"{self.url}{quote(path)}?Expires={expires}&Signature={self._signature(path, expires)}"

    def signature_holds(self, path: str, query: Mapping[str, list[str]]) -> bool:
        expires, signature = query.get("Expires", [""])[0], query.get("Signature", [""])[0]
        if not expires.isdecimal() or int(expires) <= time.time():
            return False
        return hmac.compare_digest(self._signature(path, int(expires)).encode(), signature.encode())

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(self._key, f"{expires} {path}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class _No(Exception):
    """An answer that is an error; `code` is what the client turns into its exception."""

    status: int
    code: str | None
    message: str


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: HubFile | None = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "genai-hub"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_CONNECTION_S
    server: HubServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: addresses carry signatures."""

    def do_GET(self) -> None:
        self._serve(body=True)

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def _serve(self, body: bool) -> None:
        try:
            answer = self._route()
        except _No as no:
            answer = _refusal(no)
        except RepositoryNotFound as error:
            answer = _refusal(_No(404, "RepoNotFound", str(error)))
        except RevisionNotFound as error:
            answer = _refusal(_No(404, "RevisionNotFound", str(error)))
        except (GenaiError, OSError) as error:
            answer = _refusal(_No(500, None, str(error)))
        with suppress(ConnectionError, TimeoutError):
            if answer.file:
                self._send_file(answer, answer.file, body)
            elif "ETag" in answer.headers and _matches(self.headers.get("If-None-Match"), answer.headers["ETag"]):
                self._head(304, answer.headers)
            else:
                self._head(answer.status, {**answer.headers, "Content-Length": str(len(answer.body))})
                self.wfile.write(answer.body if body else b"")
                self.wfile.flush()
            return
        self.close_connection = True

    def _route(self) -> _Answer:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        match parts:
            case ["" | "healthz"]:
                return _json({"status": "alive", "repositories": repositories(self.server.folder)})
            case ["api", "models", owner, name, *rest]:
                return self._api(self._repository(owner, name), rest, query)
            case ["cdn", owner, name, sha, *path] if path:
                if not self.server.signature_holds(unquote(url.path), query):
                    raise _No(403, None, "The signature of this address is wrong or has expired.")
                commit, file = self._file(self._repository(owner, name), sha, path)
                return _Answer(200, _about(commit, file), file=file)
            case [owner, name, "resolve", ref, *path] if path:
                return self._resolve(self._repository(owner, name), ref, path)
        raise _No(404, None, "The embedded hub has no such address.")

    def _repository(self, owner: str, name: str) -> Repository:
        return repository(self.server.folder, self.server.state, f"{owner}/{name}")

    def _api(self, found: Repository, rest: list[str], query: Mapping[str, list[str]]) -> _Answer:
        def asked(name: str) -> bool:
            return query.get(name, [""])[0] in TRUE

        match rest:
            case []:
                return _json(hub_api.model_info(found, found.resolve("main"), asked("blobs")))
            case ["revision", ref]:
                return _json(hub_api.model_info(found, found.resolve(ref), asked("blobs")))
            case ["refs"]:
                return _json(hub_api.refs(found))
            case ["auth-check"]:
                self._require_access(found)
                return _json({})
            case ["tree", ref, *path]:
                entries = hub_api.tree(found.resolve(ref), "/".join(path), asked("recursive"), asked("expand"))
                if entries is None:
                    raise _No(404, "EntryNotFound", f"{found.id} has no folder {'/'.join(path)!r} at {ref}.")
                return _json(entries)
        raise _No(404, None, "The embedded hub does not know this question.")

    def _resolve(self, found: Repository, ref: str, path: list[str]) -> _Answer:
        self._require_access(found)
        sha, file = self._file(found, ref, path)
        if not file.lfs:
            return _Answer(200, _about(sha, file), file=file)
        signed = self.server.signed(f"/cdn/{found.id}/{sha}/{file.path}")
        return _Answer(302, {**_about(sha, file), "Location": signed})

    def _file(self, found: Repository, ref: str, path: list[str]) -> tuple[str, HubFile]:
        """Only what the revision lists can be had, so no path leads out of its folder.

        A commit is listed once, not for each of its thousands of files: what it holds cannot change, but a file that
        was edited on disk belongs to another commit, so that then it is listed anew.
        """
        known = self.server.listed.get((found.folder, ref))
        file = known.files.get("/".join(path)) if known else None
        if known and file and file.unchanged:
            return known.sha, file
        revision = found.resolve(ref)
        self.server.listed[found.folder, revision.sha] = revision
        file = revision.files.get("/".join(path))
        if file is None:
            raise _No(404, "EntryNotFound", f"{found.id} has no file {'/'.join(path)!r} at {ref}.")
        return revision.sha, file

    def _require_access(self, found: Repository) -> None:
        if not found.gated:
            return
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise _No(401, "GatedRepo", f"Access to model {found.id} is restricted. Send a token.")
        if not any(hmac.compare_digest(token.strip().encode(), known.encode()) for known in self.server.tokens):
            raise _No(403, "GatedRepo", f"Access to model {found.id} is restricted, and this token is not allowed.")

    def _send_file(self, answer: _Answer, file: HubFile, body: bool) -> None:
        headers = dict(answer.headers)
        if _matches(self.headers.get("If-None-Match"), file.etag):
            return self._head(304, headers)
        try:
            part = byte_range(self.headers.get("Range"), file.size)
        except Unsatisfiable:
            return self._head(416, {**headers, "Content-Range": f"bytes */{file.size}", "Content-Length": "0"})
        headers |= {"Content-Type": "application/octet-stream", "Last-Modified": formatdate(0, usegmt=True)}
        start, length = (part.start, part.length) if part else (0, file.size)
        if part:
            headers["Content-Range"] = part.content_range
        with file.on_disk.open("rb") as stream:
            self._head(206 if part else 200, {**headers, "Content-Length": str(length)})
            if body:
                self._send_bytes(stream, start, length)
        return None

    def _send_bytes(self, stream: BinaryIO, start: int, length: int) -> None:
        """By the kernel, without a copy in this process; a file that shrank meanwhile ends the connection."""
        sent = self.connection.sendfile(stream, start, length) if length else 0
        if sent != length:
            self.close_connection = True

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()


def _about(commit: str, file: HubFile) -> dict[str, str]:
    """What the client wants to know of a file. It follows redirects within a host, so /cdn/ says it too."""
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes", "ETag": f'"{file.etag}"'}
    if file.lfs:
        headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
    return headers


def _json(value: Any) -> _Answer:
    body = json.dumps(value).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'}
    return _Answer(200, headers, body)


def _refusal(no: _No) -> _Answer:
    message = " ".join(no.message.split()).encode("ascii", "replace").decode()
    headers = {"Content-Type": "application/json; charset=utf-8", "X-Error-Message": message}
    if no.code:
        headers["X-Error-Code"] = no.code
    return _Answer(no.status, headers, json.dumps({"error": no.message}).encode())


def _matches(header: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in (header or "").split(",")]
    return header is not None and ("*" in tags or etag.strip('"') in tags)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder of model repositories on 127.0.0.1.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8590)
    args = parser.parse_args()
    tokens = frozenset(filter(None, (t.strip() for t in os.environ.get("GENAI_HUB_TOKENS", "").split(","))))
    if not args.folder.is_dir():
        raise SystemExit(f"{args.folder} is not a folder. Pass the one that holds <owner>/<name>/repo.yaml.")
    try:
        server = HubServer(args.folder, args.state, args.port, tokens)
    except OSError as error:
        raise SystemExit(f"Cannot listen on 127.0.0.1:{args.port}: {error.strerror}. Pass another --port.") from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
