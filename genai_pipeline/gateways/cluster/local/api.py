"""The daemon's HTTP interface, for LocalCluster in client.py and for nobody else.

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
from genai_pipeline.gateways.cluster.local.apply import presentable
from genai_pipeline.gateways.cluster.local.control_plane import ControlPlane
from genai_pipeline.gateways.cluster.local.objects import CLUSTER_SCOPED

GUARD_HEADER = "x-genai-cluster"
WATCH_MAX_S = 30.0
_HOSTS = ("127.0.0.1", "localhost", "testserver")

Handler = Callable[[Request], Awaitable[Response]]


def application(plane: ControlPlane, home: str) -> Starlette:
    def route(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, _guarded(handler), methods=[method])

    async def health(_: Request) -> Response:
        return JSONResponse({"home": home})

    async def changes(request: Request) -> Response:
        after, timeout = int(request.query_params["after"]), float(request.query_params.get("timeout", WATCH_MAX_S))
        return JSONResponse(await plane.store.changed_after(after, min(timeout, WATCH_MAX_S)))

    async def list_objects(request: Request) -> Response:
        kind = request.path_params["kind"]
        labels = json.loads(request.query_params.get("labels", "{}"))
        version = plane.store.version
        found = [presentable(o) for o in plane.store.list(kind, _namespace(request, kind), labels)]
        return JSONResponse({"items": found, "version": version})

    async def get_object(request: Request) -> Response:
        kind = request.path_params["kind"]
        found = plane.store.get(kind, _namespace(request, kind), request.path_params["name"])
        return JSONResponse(presentable(found) if found else None)

    async def apply(request: Request) -> Response:
        body = await request.json()
        done = await plane.apply(body["objects"], _namespace(request), body["manager"], body.get("dryRun", False))
        return JSONResponse(done)

    async def scale(request: Request) -> Response:
        await plane.scale(_namespace(request), request.path_params["name"], (await request.json())["replicas"])
        return JSONResponse({})

    async def delete(request: Request) -> Response:
        kind = request.path_params["kind"]
        await plane.delete(kind, _namespace(request, kind), request.path_params["name"])
        return JSONResponse({})

    async def events(request: Request) -> Response:
        kind, name = request.path_params["kind"], request.path_params["name"]
        return JSONResponse(plane.events(kind, _namespace(request, kind), name))

    async def logs(request: Request) -> Response:
        labels, lines = json.loads(request.query_params["labels"]), int(request.query_params["lines"])
        return PlainTextResponse(plane.logs(_namespace(request), labels, lines))

    async def endpoint(request: Request) -> Response:
        port = request.query_params.get("port")
        return JSONResponse(
            plane.endpoint(_namespace(request), request.path_params["name"], int(port) if port else None)
        )

    async def headroom(_: Request) -> Response:
        return JSONResponse(plane.headroom())

    return Starlette(
        routes=[
            route("/healthz", health),
            route("/changes", changes),
            route("/objects/{kind}", list_objects),
            route("/objects/{kind}/{name}", get_object),
            route("/objects/{kind}/{name}", delete, "DELETE"),
            route("/objects", apply, "PATCH"),
            route("/scale/{name}", scale, "PUT"),
            route("/events/{kind}/{name}", events),
            route("/logs", logs),
            route("/endpoint/{name}", endpoint),
            route("/headroom", headroom),
        ]
    )


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
