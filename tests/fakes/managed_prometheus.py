"""Amazon Managed Prometheus on loopback: it checks who asks, and keeps samples in a Prometheus behind it.

`POST /workspaces/<id>/api/v1/remote_write`, and all that Prometheus answers below `/workspaces/<id>/api/v1/`.
Source: Amazon Managed Service for Prometheus user guide, "Prometheus-compatible APIs", "Troubleshooting".
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.fakes.aws_signature import Signed, refusal
from tests.fakes.listening import Listening

KEY, SECRET = "AKIDEXAMPLE", "example-secret"
REGION = "eu-west-1"
WRITE, QUERY = "aps:RemoteWrite", "aps:QueryMetrics"
THROTTLED = "ingestion rate limit (6666.666666666667) exceeded while adding 499 samples and 0 metadata"
_PASSED_ON = ("content-type", "content-encoding", "x-prometheus-remote-write-version")


@dataclass
class Workspace:
    """How one workspace behaves. `answered`: action and status -> how often. Fields may be changed while it serves.

    `ahead`: how far AWS's clock is before the client's. `throttles`: requests that are still answered with 429.
    `denied`: actions that the role may not do.
    """

    region: str = REGION
    keys: Mapping[str, str] = field(default_factory=lambda: {KEY: SECRET})
    ahead: timedelta = timedelta(0)
    throttles: int = 0
    down: bool = False
    denied: frozenset[str] = frozenset()
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def count(self, action: str, status: int) -> None:
        with self.changed:
            self.answered[action, status] += 1
            self.changed.notify_all()

    def until(self, action: str, status: int, times: int = 1, within_s: float = 60) -> None:
        """Wait until a request for an action was answered so from now on. Raises: AssertionError: it was not."""
        with self.changed:
            wanted = self.answered[action, status] + times
            assert self.changed.wait_for(lambda: self.answered[action, status] >= wanted, within_s), self.answered


class ManagedPrometheus(Listening):
    """Serves its workspaces within `with`.

    Args:
        store: address of a Prometheus that takes remote writes; without one only refusals can be tried.
    """

    def __init__(self, workspaces: Mapping[str, Workspace], store: str = "") -> None:
        self.workspaces = workspaces
        self.store = store
        super().__init__(_Api)

    def url(self, workspace: str) -> str:
        """Return the address of a workspace, as GENAI_PROMETHEUS_URL has it."""
        return f"{self.address}/workspaces/{workspace}"


class _Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, _, name, path = urlsplit(self.path).path.split("/", 3)
        workspace = self.server.fake.workspaces.get(name)  # type: ignore[attr-defined]
        if workspace is None:
            self._answer(404, _message("Workspace not found"))
            return
        action = WRITE if path == "api/v1/remote_write" else QUERY
        status, answer = self._refused(workspace, name, action, body) or self._kept(path, body)
        workspace.count(action, status)
        self._answer(status, answer)

    def _refused(self, workspace: Workspace, name: str, action: str, body: bytes) -> tuple[int, bytes] | None:
        if workspace.down:
            return 503, _message("Service Unavailable")
        asked = Signed(self.command, f"http://{self.headers['Host']}{self.path}", dict(self.headers.items()), body)
        why = refusal(asked, workspace.keys, workspace.region, "aps", datetime.now(UTC) + workspace.ahead)
        if why is None and action in workspace.denied:
            resource = f"arn:aws:aps:{workspace.region}:123456789012:workspace/{name}"
            user = "User: arn:aws:sts::123456789012:assumed-role/genai/pod"
            why = f"{user} is not authorized to perform: {action} on resource: {resource}"
        if why is not None:
            return 403, _message(why)
        if workspace.throttles > 0:
            workspace.throttles -= 1
            return 429, THROTTLED.encode()
        return None

    def _kept(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Let the Prometheus behind it answer."""
        target = "/api/v1/write" if path == "api/v1/remote_write" else f"/{path}"
        query = urlsplit(self.path).query
        headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
        behind = http.client.HTTPConnection(urlsplit(self.server.fake.store).netloc, timeout=30)  # type: ignore[attr-defined]
        try:
            behind.request(self.command, f"{target}?{query}" if query else target, body, headers)
            answer = behind.getresponse()
            # A Prometheus says 204 for what it has stored, Amazon 200.
            return 200 if answer.status == 204 else answer.status, answer.read()
        finally:
            behind.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _message(words: str) -> bytes:
    return json.dumps({"message": words}).encode()
