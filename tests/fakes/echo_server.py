"""A tiny HTTP/1.1 server that a test runs as a pod: `python echo_server.py <host> <port> [--options]`.

GET / says its name · /address · /pid · /env its environment · /argv · /file?path= a file · /stream?n=&s= a slow
stream · /held a body whose second half waits for POST /release · /status/404 that status · /healthz its health, which
POST /healthz/off and /on change · /notes what POST /note/x left · /mirror describes the request, whatever its method ·
POST /exit/3 ends it · /drain?s= closes every connection with its next answer from now on, and answers after s seconds
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

HEALTH = {"ok": True}
NOTES: list[str] = []
RELEASED = threading.Event()
DRAINING = threading.Event()


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
        elif url.path == "/address":
            self._answer(200, ARGS.host)
        elif url.path == "/notes":
            self._answer(200, ",".join(NOTES))
        elif url.path == "/drain":
            DRAINING.set()
            time.sleep(float(query["s"]))
            self._answer(200, "")
        elif url.path == "/held":
            self._held()
        elif url.path.startswith("/status/"):
            status = url.path.rsplit("/", 1)[1]
            self._answer(int(status), status)
        elif url.path.startswith("/mirror"):
            self.do_PUT()
        else:
            self._answer(200, ARGS.name)

    def do_POST(self) -> None:
        body = self._body()
        if self.path.startswith("/exit/"):
            say("ending as asked")
            os._exit(int(self.path.rsplit("/", 1)[1]))
        if self.path.startswith("/healthz/"):
            HEALTH["ok"] = self.path.endswith("on")
        if self.path.startswith("/note/"):
            NOTES.append(self.path.rsplit("/", 1)[1])
        if self.path == "/release":
            RELEASED.set()
        if self.path.startswith("/mirror"):
            self._mirror(len(body))
        else:
            self._answer(200, f"{ARGS.name} {len(body)}")

    def do_PUT(self) -> None:
        self._mirror(len(self._body()))

    def do_PATCH(self) -> None:
        self.do_PUT()

    def do_DELETE(self) -> None:
        self.do_PUT()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _mirror(self, size: int) -> None:
        self._answer(200, json.dumps({"method": self.command, "path": self.path, "bytes": size}))

    def _held(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(b"first")
        RELEASED.wait(10)
        RELEASED.clear()
        self._chunk(b"second")
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if DRAINING.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _stream(self, chunks: int, pause_s: float) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index in range(chunks):
            self._chunk(f"{ARGS.name} {index}\n".encode())
            time.sleep(pause_s)
        self._chunk(b"")

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
    # The first process of a container has no default action for a signal.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    say(f"serving as {ARGS.name}")
    Server((ARGS.host, ARGS.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
