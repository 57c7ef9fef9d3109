"""`python -m genai_pipeline.local.chat_ui`: one page to talk to the live models from a browser.

Stands in for Open WebUI on one machine. The browser talks to the models' stable addresses itself;
this server sends the page and nothing else.
"""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = Path(__file__).with_name("chat_ui.html")


def page(models: dict[str, str]) -> bytes:
    """The page, with model name -> base address written into it."""
    # "</" would end the script element that the JSON stands in.
    written = json.dumps(models).replace("</", "<\\/")
    return PAGE.read_text().replace("/*MODELS*/{}", written).encode()


def handler_for(body: bytes) -> type[BaseHTTPRequestHandler]:
    """A handler that answers every GET of / with `body` and anything else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.split("?")[0] == "/"
            answer = body if found else b"not found"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8" if found else "text/plain")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            return None

    return Handler


def main() -> None:
    models = json.loads(os.environ.get("CHAT_MODELS", "{}"))
    address = (os.environ.get("CHAT_HOST", "127.0.0.1"), int(os.environ.get("CHAT_PORT", "8080")))
    ThreadingHTTPServer(address, handler_for(page(models))).serve_forever()


if __name__ == "__main__":
    main()
