"""The webhook's client against a real server; its address is a secret."""

import json
import logging
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genai_pipeline.core.errors import GenaiError, Refused, WebhookUnavailable
from genai_pipeline.gateways.webhook.http_webhook import HttpWebhook

SECRET = "T00-B00-veryprivate"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.status, self.bodies, self.hang = 200, [], threading.Event()
        self.hang.set()
        super().__init__(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.hang.wait(20)
            self.server.bodies.append((self.path, json.loads(body)))
            self.send_response(self.server.status)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_):
            """Quiet."""


@pytest.fixture
def server():
    with Server() as server:
        yield server
        server.hang.set()
        server.shutdown()


def webhook(server, **options):
    return HttpWebhook(f"http://127.0.0.1:{server.server_port}/services/{SECRET}", **options)


def test_the_text_comes_as_slacks_json(server):
    webhook(server).post("München <b>")
    assert server.bodies == [(f"/services/{SECRET}", {"text": "München <b>"})]


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, WebhookUnavailable), (429, WebhookUnavailable), (404, Refused), (403, Refused), (302, Refused)],
)
def test_answers_that_are_no_yes_are_errors_and_no_redirect_is_followed(server, status, error):
    server.status = status
    with pytest.raises(error, match=str(status)):
        webhook(server).post("x")
    assert len(server.bodies) == 1


def test_its_address_is_in_no_error_log_traceback_or_representation(server, caplog):
    caplog.set_level(logging.DEBUG)
    said = [repr(webhook(server))]
    server.hang.clear()
    bad = [webhook(server, timeout_s=0.1), HttpWebhook(f"http://127.0.0.1:1/{SECRET}"), HttpWebhook(f"ftp://{SECRET}"),
           HttpWebhook(f"https://no.such.host.invalid/{SECRET}"), HttpWebhook(f"http://127.0.0.1:port/{SECRET}"),
           HttpWebhook(f"http://127.0.0.1/ü{SECRET}")]  # fmt: skip
    for broken in bad:
        try:
            broken.post("x")
        except GenaiError as error:
            said += traceback.format_exception(error)
    assert len(said) > len(bad)
    assert SECRET not in "".join(said) + caplog.text
