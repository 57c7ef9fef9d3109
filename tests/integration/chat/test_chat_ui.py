import threading
import urllib.error
import urllib.request
from http.server import ThreadingHTTPServer

import pytest

from genai_pipeline.local.chat_ui import handler_for, page


@pytest.fixture
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(page({"tiny": "http://127.78.0.1:8000"})))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_the_page_knows_the_models_and_their_addresses(address):
    body = urllib.request.urlopen(address).read().decode()

    assert '{"tiny": "http://127.78.0.1:8000"}' in body
    assert "/*MODELS*/" not in body


def test_anything_but_the_page_is_not_found(address):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/etc/passwd")


def test_an_address_cannot_break_out_of_the_script():
    assert b"</script><script>alert" not in page({"x": "</script><script>alert(1)</script>"})
