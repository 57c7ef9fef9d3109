import json
import threading
import urllib.error
import urllib.request
from http.server import ThreadingHTTPServer

import pytest

from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.local.chat_page import handler_for, page
from tests.fakes.openai_server import FakeEngine


@pytest.fixture
def engine():
    with FakeEngine("tiny") as engine:
        yield engine


@pytest.fixture
def address(engine):
    models = {
        "tiny": {"url": engine.url, "path": "/v1/chat/completions"},
        "gone": {"url": "http://127.0.0.1:9", "path": "/v1/chat/completions"},
        "vectors": {"url": engine.url, "path": "/v1/embeddings"},
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(models))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def ask(address, model="tiny"):
    question = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    return json.load(urllib.request.urlopen(f"{address}/{model}/v1/chat/completions", question))


def test_the_page_knows_the_models_and_what_each_answers(address):
    body = urllib.request.urlopen(address).read().decode()

    assert '"tiny": "/v1/chat/completions", "vectors": "/v1/embeddings"}' in body
    assert "/*MODELS*/" not in body


def test_the_pages_questions_reach_the_model(address):
    assert json.load(urllib.request.urlopen(f"{address}/tiny/v1/models"))["data"][0]["id"] == "tiny"
    assert ask(address)["choices"][0]["message"]["content"]


def test_the_pipelines_client_reaches_a_model_below_its_path_on_the_page(address):
    inference = OpenAIInference(f"{address}/tiny")

    assert "tiny" in inference.models()
    assert inference.chat("tiny", [{"role": "user", "content": "Hello"}]).text


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/tiny/metrics",
        "/tiny/v1/../metrics",
        "/tiny/v1/completions",
        "/other/v1/models",
        "/vectors/v1/embeddings",
    ],
)
def test_nothing_else_is_passed_on(address, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(address + path)


def test_a_model_that_is_gone_is_said(address):
    with pytest.raises(urllib.error.HTTPError, match="502"):
        ask(address, "gone")


def test_a_name_cannot_break_out_of_the_script():
    assert b"</script><script>alert" not in page(
        {"</script><script>alert(1)</script>": {"url": "http://x", "path": "/v1/completions"}}
    )
