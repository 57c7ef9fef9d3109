"""`python -m genai_pipeline.local.chat_page`: one page to talk to the live models from a browser.

Stands in for Open WebUI on one machine. It sends the page, and passes the page's questions on to the stable addresses
of the models that write text: vLLM allows no other origin to ask it from a browser. Other models are only named.

```
CHAT_MODELS   {"<name>": {"url": "http://host:port", "path": "/v1/chat/completions"}, …}: what each live model answers
```
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = Path(__file__).with_suffix(".html")
MODELS_PATH = "/v1/models"
WRITES_TEXT = ("/v1/chat/completions", "/v1/completions")
"""What the page can ask. chat_page.html builds a question for each."""
LARGEST_QUESTION = 1024 * 1024
ANSWER_DEADLINE_S = 120

Models = Mapping[str, Mapping[str, str]]
"""Name -> address of the model's endpoint (`url`), and what it answers there (`path`)."""


def page(models: Models) -> bytes:
    """The page, with the models' names and what they answer written into it."""
    # "</" would end the script element that the JSON stands in.
    written = json.dumps({name: models[name]["path"] for name in sorted(models)}).replace("</", "<\\/")
    return PAGE.read_text().replace("/*MODELS*/{}", written).encode()


class ChatHandler(BaseHTTPRequestHandler):
    """Answers / with the page, and `/<model>/v1/…` with the answer of the model's stable address."""

    page_body: bytes = b""
    upstream: Mapping[str, str] = {}
    """Path -> address of the model's endpoint."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path == "/":
            self._answer(200, "text/html; charset=utf-8", self.page_body)
        else:
            self._pass_on(path, None)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_QUESTION:
            self._answer(413, "text/plain", b"the question is too large")
        else:
            self._pass_on(self.path, self.rfile.read(length))

    def _pass_on(self, path: str, question: bytes | None) -> None:
        url = self.upstream.get(path)
        if url is None:
            self._answer(404, "text/plain", b"not found")
            return
        asked = urllib.request.Request(url, question, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(asked, timeout=ANSWER_DEADLINE_S) as answer:
                self._answer(answer.status, "application/json", answer.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, "application/json", error.read())
        except OSError as error:
            self._answer(502, "text/plain", f"the model does not answer: {error}".encode())

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        return None


def handler_for(models: Models) -> type[BaseHTTPRequestHandler]:
    """Return the handler for these models."""
    upstream = {
        f"/{name}{path}": f"{model['url']}{path}"
        for name, model in models.items()
        if model["path"] in WRITES_TEXT
        for path in (MODELS_PATH, model["path"])
    }
    return type("Handler", (ChatHandler,), {"page_body": page(models), "upstream": upstream})


def main() -> None:
    models: Models = json.loads(os.environ.get("CHAT_MODELS", "{}"))
    address = (os.environ.get("CHAT_HOST", "127.0.0.1"), int(os.environ.get("CHAT_PORT", "8080")))
    ThreadingHTTPServer(address, handler_for(models)).serve_forever()


if __name__ == "__main__":
    main()
