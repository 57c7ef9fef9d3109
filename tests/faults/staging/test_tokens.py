"""The token goes to the hub's own origin, and nowhere else, wherever the hub redirects to."""

import pytest

from genai_pipeline.core.errors import HubUnavailable
from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
from tests.fakes.certificates import tls_for_loopback
from tests.fakes.flaky_hub import COMMIT, CONTENT, FlakyHub

TOKEN = "hf_secret"


def read(server):
    hub = HuggingFaceHub(server.url, TOKEN, sleep=lambda _: None)
    return b"".join(hub.read("owner/model", COMMIT, "model.safetensors", 10, 200))


def address(server, *, host="127.0.0.1", user=""):
    return f"http://{user}{host}:{server.server_port}/signed?x=1"


@pytest.mark.parametrize(
    ("status", "where"),
    [
        (302, {}),
        (301, {}),
        (307, {}),
        (308, {}),
        (302, {"host": "localhost"}),
        (302, {"user": "127.0.0.1@"}),
        (302, {"user": f"user:{TOKEN[3:]}x@"}),
    ],
)
def test_another_host_gets_no_token(status, where):
    with FlakyHub() as other, FlakyHub(redirect_to=address(other, **where), redirect_status=status) as server:
        assert read(server) == CONTENT[10:200]
        assert server.headers_seen("Authorization") == [f"Bearer {TOKEN}"]
        assert TOKEN not in str(other.seen)


def test_without_tls_not_even_the_same_host_gets_a_token(tmp_path, monkeypatch):
    context, trusted = tls_for_loopback(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with FlakyHub() as plain, FlakyHub(redirect_to=address(plain), tls=context) as server:
        assert read(server) == CONTENT[10:200]
        assert server.headers_seen("Authorization") == [f"Bearer {TOKEN}"]
        assert plain.headers_seen("Authorization") == [None]


def test_a_hub_whose_certificate_no_one_vouches_for_gets_no_token(tmp_path):
    context, _ = tls_for_loopback(tmp_path)
    with FlakyHub(tls=context) as server:
        with pytest.raises(HubUnavailable, match="certificate"):
            read(server)
        assert server.seen == []


def test_a_chain_back_to_the_hub_gets_the_token_at_the_hub_only():
    with FlakyHub() as end, FlakyHub(redirect_to=address(end)) as between:
        with FlakyHub(redirect_to=f"{between.url}/owner/model/resolve/{COMMIT}/x") as server:
            assert read(server) == CONTENT[10:200]
        assert TOKEN not in str(between.seen) + str(end.seen)
