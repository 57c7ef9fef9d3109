"""A tiny HTTP/1.1 server that a test runs as a pod: `python echo_server.py <host> <port> [--options]`.

GET /name says which pod answers · /env/X an environment variable · /file?path a file · /stream?n=&s= a slow
stream · /healthz its health, which POST /healthz/off and /on change · POST /exit/3 ends it · /pid
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

HEALTH = {"ok": True}


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        url = urlparse(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/healthz":
            self._answer(200 if HEALTH["ok"] else 503, "")
        elif url.path == "/stream":
            self._stream(int(query["n"]), float(query["s"]))
        elif url.path == "/env":
            self._answer(200, json.dumps(dict(os.environ)))
        elif url.path == "/argv":
            self._answer(200, json.dumps(sys.argv))
        elif url.path == "/file":
            with open(query["path"]) as file:
                self._answer(200, file.read())
        elif url.path == "/pid":
            self._answer(200, str(os.getpid()))
        else:
            self._answer(200, ARGS.name)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/exit/"):
            say("ending as asked")
            os._exit(int(self.path.rsplit("/", 1)[1]))
        if self.path.startswith("/healthz/"):
            HEALTH["ok"] = self.path.endswith("on")
        self._answer(200, f"{ARGS.name} {len(body)}")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _stream(self, chunks: int, pause_s: float) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index in range(chunks):
            data = f"{ARGS.name} {index}\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
            time.sleep(pause_s)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="")
    parser.add_argument("--unhealthy", action="store_true")
    parser.add_argument("--idle", type=float, default=None, help="seconds after which an idle connection is closed")
    global ARGS
    ARGS = parser.parse_args()
    HEALTH["ok"] = not ARGS.unhealthy
    Handler.timeout = ARGS.idle
    say(f"serving as {ARGS.name}")
    Server((ARGS.host, ARGS.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
