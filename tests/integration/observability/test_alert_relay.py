"""The relay passes messages on as they are, says what failed so that Alertmanager does right, and never the address."""

from __future__ import annotations

import io
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from genai_pipeline.observability.alert_relay import MOST_BYTES, alert_relay
from tests.fakes.listening import Listening

BODY = b'{"version": "4", "alerts": []}'


class Webhook(Listening):
    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []
        super().__init__(_Taking)


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.fake.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.server.fake.status)
        self.end_headers()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


@pytest.fixture
def address(webhook: Webhook, tmp_path: Path) -> Path:
    file = tmp_path / "webhook"
    file.write_text(f"{webhook.address}/services/veryprivate\n")
    return file


def posted(address: Path, kind: str = "application/json", method: str = "POST", length: str | None = None) -> str:
    """Return status and text of the answer."""
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(BODY)) if length is None else length,
        "wsgi.input": io.BytesIO(BODY),
    }
    body = b"".join(alert_relay(address)(environ, lambda status, _: said.append(status)))
    return f"{said[0]} {body.decode()}"


def test_a_message_is_passed_on_as_it_is(address: Path, webhook: Webhook):
    assert posted(address).startswith("200")
    assert webhook.bodies == [BODY]


@pytest.mark.parametrize(("answers", "status"), [(500, 503), (429, 503), (404, 400), (302, 400)])
def test_alertmanager_tries_again_only_where_that_helps(address: Path, webhook: Webhook, answers: int, status: int):
    webhook.status = answers

    said = posted(address)

    assert said.startswith(str(status))
    assert str(answers) in said


@pytest.mark.parametrize("text", ["http://127.0.0.1:1/veryprivate", "veryprivate"])
def test_no_answer_has_the_address(address: Path, text: str):
    address.write_text(text)

    said = posted(address)

    assert "veryprivate" not in said
    assert said[0] in "45"


def test_before_a_webhook_is_set_alertmanager_keeps_trying(tmp_path: Path):
    assert posted(tmp_path / "none").startswith("503")


@pytest.mark.parametrize(
    "asked",
    [{"kind": "text/plain"}, {"method": "GET"}, {"length": ""}, {"length": str(MOST_BYTES + 1)}],
    ids=["of a page in a browser", "no post", "of no length", "too large"],
)
def test_what_alertmanager_does_not_send_is_refused(address: Path, webhook: Webhook, asked: dict[str, str]):
    assert posted(address, **asked).startswith("4")
    assert webhook.bodies == []
