"""A model hub over a folder, which the real huggingface_hub client takes for the public one (HF_ENDPOINT).

    python -m genai_pipeline.local.hub.hub_server --folder demo/hub --state .genai/hub --port 8590

Metadata is open, files of a gated repository need a token, and large files are reached over a redirect to a signed
address that expires: all as on the public hub, so that the pipeline meets it on a laptop too. GENAI_HUB_TOKENS names
the tokens, separated by commas. It listens on loopback, or on the address of --host.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from genai_pipeline.core.errors import GenaiError, RepositoryNotFound, RevisionNotFound
from genai_pipeline.local.hub import hub_api
from genai_pipeline.local.hub.hub_digests import HubFile
from genai_pipeline.local.hub.hub_refs import Repository, Revision, repositories, repository

IDLE_CONNECTION_S = 60
LINK_VALID_S = 3600
LOOPBACK = "127.0.0.1"
TRUE = ("true", "True", "1")


class HubServer:
    """A hub, in a thread of this process: use it as a context manager.

    Args:
        folder: holds `<owner>/<name>/repo.yaml`.
        state: where publications are remembered.
        port: 0 takes a free one.
        host: where it listens.
        tokens: open gated repositories.
        link_valid_s: the life of a signed address.

    Raises: OSError: the port is taken, or this machine has no such address.
    """

    def __init__(
        self,
        folder: Path,
        state: Path,
        port: int = 0,
        tokens: frozenset[str] = frozenset(),
        link_valid_s: int = LINK_VALID_S,
        host: str = LOOPBACK,
    ) -> None:
        self.folder, self.state, self.tokens, self.link_valid_s = folder.resolve(), state, tokens, link_valid_s
        self._key = secrets.token_bytes(32)
        self._listed: dict[tuple[Path, str], Revision] = {}
        self._socket = socket.create_server((host, port), backlog=128)
        self.host: str = self._socket.getsockname()[0]
        self.server_port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            Starlette(routes=[Route("/{path:path}", self.answer)]),
            log_level="critical",  # addresses carry signatures
            access_log=False,
            lifespan="off",
            timeout_keep_alive=IDLE_CONNECTION_S,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="hub", daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.server_port}"

    def answer(self, request: Request) -> Response:
        """Return the response to one request. Called in a worker thread, so that it may read and hash files."""
        try:
            response = self._route(request)
        except _Refusal as refusal:
            response = _error(refusal.status, refusal.code, str(refusal))
        except RepositoryNotFound as error:
            response = _error(404, "RepoNotFound", str(error))
        except RevisionNotFound as error:
            response = _error(404, "RevisionNotFound", str(error))
        except (GenaiError, OSError) as error:
            response = _error(500, None, str(error))
        if _matches(request.headers.get("If-None-Match"), response.headers.get("ETag")):
            kept = {k: v for k, v in response.headers.items() if k not in ("content-length", "content-type")}
            return Response(status_code=304, headers=kept)
        return response

    def _route(self, request: Request) -> Response:
        match _parts(request):
            case ["" | "healthz"]:
                return _json({"status": "alive", "repositories": repositories(self.folder)})
            case ["api", "models", owner, name, *rest]:
                return self._api(self._repository(owner, name), rest, request)
            case ["cdn", owner, name, sha, *path] if path:
                if not self._signature_holds(request):
                    raise _Refusal(403, None, "The signature of this address is wrong or has expired.")
                commit, file = self._file(self._repository(owner, name), sha, path)
                return _content(commit, file)
            case [owner, name, "resolve", ref, *path] if path:
                return self._resolve(self._repository(owner, name), ref, path, request)
        raise _Refusal(404, None, "The embedded hub has no such address.")

    def _repository(self, owner: str, name: str) -> Repository:
        return repository(self.folder, self.state, f"{owner}/{name}")

    def _api(self, found: Repository, rest: Sequence[str], request: Request) -> Response:
        def asked(name: str) -> bool:
            return request.query_params.get(name) in TRUE

        match rest:
            case []:
                return _json(hub_api.model_info(found, found.resolve("main"), asked("blobs")))
            case ["revision", ref]:
                return _json(hub_api.model_info(found, found.resolve(ref), asked("blobs")))
            case ["refs"]:
                return _json(hub_api.refs(found))
            case ["auth-check"]:
                self._require_access(found, request)
                return _json({})
            case ["tree", ref, *path]:
                entries = hub_api.tree(found.resolve(ref), "/".join(path), asked("recursive"), asked("expand"))
                if entries is None:
                    raise _Refusal(404, "EntryNotFound", f"{found.id} has no folder {'/'.join(path)!r} at {ref}.")
                return _json(entries)
        raise _Refusal(404, None, "The embedded hub does not know this question.")

    def _resolve(self, found: Repository, ref: str, path: Sequence[str], request: Request) -> Response:
        self._require_access(found, request)
        sha, file = self._file(found, ref, path)
        if not file.lfs:
            return _content(sha, file)
        address = f"/cdn/{found.id}/{sha}/{file.path}"
        expires = int(time.time()) + self.link_valid_s
        # The address that the client asked at: it may be that of a port forward, and then ours is out of its reach.
        here = str(request.base_url).rstrip("/")
        signed = f"{here}{quote(address)}?Expires={expires}&Signature={self._signature(address, expires)}"
        return RedirectResponse(signed, 302, file_headers(sha, file))

    def _file(self, found: Repository, ref: str, path: Sequence[str]) -> tuple[str, HubFile]:
        """Only what the revision lists can be had, so no path leads out of its folder.

        A commit is listed once, not for each of its thousands of files: what it holds cannot change. A file that was
        edited on disk belongs to another commit; then the commit is listed again.
        """
        known = self._listed.get((found.folder, ref))
        file = known.files.get("/".join(path)) if known else None
        if known and file and file.unchanged:
            return known.sha, file
        revision = found.resolve(ref)
        self._listed[found.folder, revision.sha] = revision
        file = revision.files.get("/".join(path))
        if file is None:
            raise _Refusal(404, "EntryNotFound", f"{found.id} has no file {'/'.join(path)!r} at {ref}.")
        return revision.sha, file

    def _require_access(self, found: Repository, request: Request) -> None:
        if not found.gated:
            return
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise _Refusal(401, "GatedRepo", f"Access to model {found.id} is restricted. Send a token.")
        if not any(hmac.compare_digest(token.strip().encode(), known.encode()) for known in self.tokens):
            message = f"Access to model {found.id} is restricted, and this token is not allowed."
            raise _Refusal(403, "GatedRepo", message)

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(self._key, f"{expires} {path}".encode(), hashlib.sha256).hexdigest()

    def _signature_holds(self, request: Request) -> bool:
        expires, signature = (request.query_params.get(name, "") for name in ("Expires", "Signature"))
        if not expires.isdecimal() or int(expires) <= time.time():
            return False
        return hmac.compare_digest(
            self._signature("/" + "/".join(_parts(request)), int(expires)).encode(), signature.encode()
        )


def _parts(request: Request) -> list[str]:
    """Return the parts of the path. Clients escape the slashes of a ref, and `?` and `#` in names of files."""
    return [unquote(part) for part in request.scope["raw_path"].decode("ascii").strip("/").split("/")]


class _Refusal(Exception):
    """An answer that is an error; `code` is what the client turns into its exception."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class _Content(FileResponse):
    chunk_size = 1 << 20
    """Starlette's own 64 KiB cost 2.9 s of CPU per GiB, and this 0.5 to 0.9: each piece is a change of threads."""


def _content(commit: str, file: HubFile) -> Response:
    return _Content(file.on_disk, headers=file_headers(commit, file), media_type="application/octet-stream")


def file_headers(commit: str, file: HubFile) -> dict[str, str]:
    """Return what the client wants to know of a file. It follows redirects within a host, so /cdn/ says it too."""
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes", "ETag": f'"{file.etag}"'}
    if file.lfs:
        headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
    return headers


def _json(value: Any) -> Response:
    response = JSONResponse(value)
    response.headers["ETag"] = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    return response


def _error(status: int, code: str | None, message: str) -> Response:
    headers = {"X-Error-Message": " ".join(message.split()).encode("ascii", "replace").decode()}
    if code:
        headers["X-Error-Code"] = code
    return JSONResponse({"error": message}, status, headers)


def _matches(header: str | None, etag: str | None) -> bool:
    if header is None or etag is None:
        return False
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return "*" in tags or etag.strip('"') in tags


def main(environment: Mapping[str, str] = os.environ) -> None:
    parser = argparse.ArgumentParser(description="Serve a folder of model repositories.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on")
    parser.add_argument("--port", type=int, default=8590)
    args = parser.parse_args()
    tokens = frozenset(filter(None, (t.strip() for t in environment.get("GENAI_HUB_TOKENS", "").split(","))))
    if not args.folder.is_dir():
        raise SystemExit(f"{args.folder} is not a folder. Pass the one that holds <owner>/<name>/repo.yaml.")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        with HubServer(args.folder, args.state, args.port, tokens, host=args.host):
            signal.pause()
    except OSError as error:
        raise SystemExit(f"Cannot listen on {args.host}:{args.port}: {error.strerror}. Pass another --port.") from None


if __name__ == "__main__":
    main()
