"""A webhook for Alertmanager, as an example: it writes a line for each alert that begins or ends.

python deploy/observability/alert_receiver.py 8099

In its place goes what wakes people. A receiver answers 2xx once it has kept the alert. After 5xx Alertmanager sends it
again, so the same alert may come twice: `fingerprint` and `startsAt` tell.
Source: Prometheus documentation, "webhook_config".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def lines_of(message: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each alert of a message."""
    for alert in message["alerts"]:
        labels, noted = alert["labels"], alert["annotations"]
        what = f"{alert['status']} {labels.get('severity', '')} {labels['alertname']}"
        yield f"{what}: {noted.get('summary', '')} What to do: {noted.get('runbook_url', '')}"


def receiver(port: int, take: Callable[[dict[str, Any]], None]) -> ThreadingHTTPServer:
    """Return a server that hands each message on. Port 0 takes a free one."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
            except (ValueError, KeyError, TypeError):
                self.send_response(400)  # no message of Alertmanager: it need not come again
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Write nothing: the path may be a secret."""

    return ThreadingHTTPServer(("127.0.0.1", port), Receiver)


def show(message: dict[str, Any]) -> None:
    """Write the alerts of a message."""
    sys.stdout.writelines(f"{line}\n" for line in lines_of(message))
    sys.stdout.flush()


if __name__ == "__main__":
    receiver(int(sys.argv[1]), show).serve_forever()
