"""The daemon's HTTP interface, for LocalCluster (gateways/cluster/local.py) only.

Loopback only. Applying an object runs a command, so a web page in the user's browser must not be able to:
a request has to name a loopback host and carry a header that browsers do not let pages of other origins send.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from genai_pipeline.core.errors import GenaiError, NotFound
from genai_pipeline.gateways.cluster.kinds import CLUSTER_SCOPED
from genai_pipeline.local.cluster.control_plane import ControlPlane
from genai_pipeline.local.cluster.server_side_apply import presentable

GUARD_HEADER = "x-genai-cluster"
WATCH_MAX_S = 30.0
_HOSTS = ("127.0.0.1", "localhost", "testserver")

Handler = Callable[[Request], Awaitable[Response]]


def application(plane: ControlPlane, home: str) -> Starlette:
    return Starlette(routes=_Api(plane, home).routes())


class _Api:
    """A method a verb; each answers one request."""

    def __init__(self, plane: ControlPlane, home: str) -> None:
        self._plane = plane
        self._home = home

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", _guarded(self.health), methods=["GET"]),
            Route("/changes", _guarded(self.changes), methods=["GET"]),
            Route("/objects/{kind}", _guarded(self.list_objects), methods=["GET"]),
            Route("/objects/{kind}/{name}", _guarded(self.get_object), methods=["GET"]),
            Route("/objects/{kind}/{name}", _guarded(self.delete), methods=["DELETE"]),
            Route("/objects", _guarded(self.apply), methods=["PATCH"]),
            Route("/scale/{name}", _guarded(self.scale), methods=["PUT"]),
            Route("/events/{kind}/{name}", _guarded(self.events), methods=["GET"]),
            Route("/logs", _guarded(self.logs), methods=["GET"]),
            Route("/endpoint/{name}", _guarded(self.endpoint), methods=["GET"]),
            Route("/headroom", _guarded(self.headroom), methods=["GET"]),
        ]

    async def health(self, _: Request) -> Response:
        return JSONResponse({"home": self._home})

    async def changes(self, request: Request) -> Response:
        after, timeout = int(request.query_params["after"]), float(request.query_params.get("timeout", WATCH_MAX_S))
        return JSONResponse(await self._plane.store.changed_after(after, min(timeout, WATCH_MAX_S)))

    async def list_objects(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        labels = json.loads(request.query_params.get("labels", "{}"))
        version = self._plane.store.version
        found = [presentable(o) for o in self._plane.store.list(kind, _namespace(request, kind), labels)]
        return JSONResponse({"items": found, "version": version})

    async def get_object(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        found = self._plane.store.get(kind, _namespace(request, kind), request.path_params["name"])
        return JSONResponse(presentable(found) if found else None)

    async def apply(self, request: Request) -> Response:
        body = await request.json()
        how = {"dry_run": body.get("dryRun", False), "take_back": body.get("takeBack", False)}
        done = await self._plane.apply(body["objects"], _namespace(request), body["manager"], **how)
        return JSONResponse(done)

    async def scale(self, request: Request) -> Response:
        await self._plane.scale(_namespace(request), request.path_params["name"], (await request.json())["replicas"])
        return JSONResponse({})

    async def delete(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        await self._plane.delete(kind, _namespace(request, kind), request.path_params["name"])
        return JSONResponse({})

    async def events(self, request: Request) -> Response:
        kind, name = request.path_params["kind"], request.path_params["name"]
        return JSONResponse(self._plane.events(kind, _namespace(request, kind), name))

    async def logs(self, request: Request) -> Response:
        labels, lines = json.loads(request.query_params["labels"]), int(request.query_params["lines"])
        return PlainTextResponse(self._plane.logs(_namespace(request), labels, lines))

    async def endpoint(self, request: Request) -> Response:
        port = request.query_params.get("port")
        return JSONResponse(
            self._plane.endpoint(_namespace(request), request.path_params["name"], int(port) if port else None)
        )

    async def headroom(self, _: Request) -> Response:
        return JSONResponse(self._plane.headroom())


def _namespace(request: Request, kind: str = "") -> str:
    return "" if kind in CLUSTER_SCOPED else request.query_params["namespace"]


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        if request.url.hostname not in _HOSTS or GUARD_HEADER not in request.headers:
            raise HTTPException(403, "This address is for the genai pipeline on this machine only.")
        try:
            return await handler(request)
        except GenaiError as error:
            body: dict[str, Any] = {"error": type(error).__name__, "what": error.what, "remedy": error.remedy}
            return JSONResponse(body, 404 if isinstance(error, NotFound) else 422)
        except (KeyError, ValueError, TypeError) as error:
            body = {"error": "Refused", "what": f"Not a request this cluster knows ({error!r}).", "remedy": ""}
            return JSONResponse(body, 400)

    return guarded
