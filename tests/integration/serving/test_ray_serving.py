"""The application of an engine on Ray: a real Ray and Serve, and the fake engine in place of vLLM."""

import http.client
import io
import json
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from genai_pipeline.core.engine_paths import CACHE_PATH, TOKEN_HEADER
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from tests.fakes.ray_node import RayNode

pytestmark = pytest.mark.long
NAMES = ["--model=s3://genai/models/m/0123/", "--served-model-name", "m", "m@r"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Of the pod, in which an engine compiled something."""
    home = tmp_path_factory.mktemp("home")
    (home / "cache/triton").mkdir(parents=True)
    (home / "cache/triton/kernel").touch()
    return home


@pytest.fixture(scope="module")
def node(home):
    with RayNode(stub=True, env={"HOME": str(home), "GENAI_PIPELINE_TOKEN": "right"}) as node:
        node.deploy([*NAMES, "--fault=token_s=0.05"])
        yield node


def body(tokens=4, stream=False):
    asked = {"model": "m@r", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": tokens}
    return asked | {"stream": stream, "ignore_eos": True}


def ask(node, **asked):
    return httpx.post(f"{node.url}/v1/chat/completions", json=body(**asked), timeout=30, trust_env=False)


def test_both_names_are_served_and_say_where_the_weights_came_from(node):
    cards = httpx.get(f"{node.url}/v1/models", trust_env=False).json()["data"]

    assert {(card["id"], card["root"]) for card in cards} == {("m", NAMES[0][8:]), ("m@r", NAMES[0][8:])}


def test_refusals_are_the_engines_own(node):
    refused = httpx.post(f"{node.url}/v1/chat/completions", json=body() | {"model": "other"}, trust_env=False)

    assert refused.status_code == 404
    assert refused.json()["error"]["message"] == "The model `other` does not exist."


def test_a_stream_comes_piece_by_piece(node):
    with httpx.stream("POST", f"{node.url}/v1/chat/completions", json=body(20, True), trust_env=False) as answer:
        events = [piece.count(b"data:") for piece in answer.iter_raw()]

    assert sum(events) >= 20
    assert len(events) >= 15


def test_the_figures_of_the_replica_are_read_at_the_address_of_the_engine(node):
    before = EngineMetricsReader().read(node.url)
    ask(node, tokens=7)
    after = EngineMetricsReader().read(node.url)

    assert after.generation_tokens - before.generation_tokens == 7


def test_the_proxy_of_the_pod_gives_the_pipeline_what_was_compiled_and_no_one_else(node):
    def get(path, token):
        return httpx.get(node.url + path, headers={TOKEN_HEADER: token}, timeout=30, trust_env=False)

    given, refused, unknown = get(CACHE_PATH, "right"), get(CACHE_PATH, "wrong"), get("/genai/other", "right")

    assert given.status_code == 200
    with tarfile.open(fileobj=io.BytesIO(given.content)) as tar:
        assert tar.getnames() == ["cache/triton/kernel"]
    assert (refused.status_code, refused.content) == (unknown.status_code, unknown.content)


def test_once_asked_to_drain_the_proxy_closes_kept_connections_and_waits_for_streams(node):
    connection = http.client.HTTPConnection(node.url.removeprefix("http://"), timeout=30)

    def answer(path="/v1/models"):
        connection.request("GET", path)
        found = connection.getresponse()
        found.read()
        return found.getheader("Connection")

    assert answer() is None
    streamed = []
    begun = threading.Event()

    def stream():
        with httpx.stream("POST", f"{node.url}/v1/chat/completions", json=body(40, True), trust_env=False) as told:
            for line in told.iter_lines():
                streamed.append(line)
                begun.set()

    with ThreadPoolExecutor() as threads:
        running = threads.submit(stream)
        assert begun.wait(20)
        OpenAIInference(node.url).leave()
        assert answer() == "close"
        drained = httpx.get(f"{node.url}/drain?least=0&most=30", timeout=60, trust_env=False).json()
        running.result(1)

    assert drained == drained | {"drained": True, "running": []}
    assert "data: [DONE]" in streamed


def test_an_engine_that_fails_is_started_again(node):
    [before] = node.processes("ServeReplica")
    httpx.post(f"{node.url}/faults", json={"unhealthy": True}, trust_env=False)

    node.wait(lambda: [p for p in node.processes("ServeReplica") if p.pid != before.pid and node.serves()], 60)

    assert not before.is_running()
    assert ask(node).status_code == 200


def test_a_replica_that_lost_its_further_worker_is_replaced_and_what_it_ran_is_not_waited_for(node):
    """vLLM's own check of health passed for minutes, while no request was answered."""
    bundles = [{"CPU": 1}, {"further": 1}]
    larger = {"placement_group_bundles": bundles, "placement_group_strategy": "PACK"}
    with ExitStack() as streams:
        with node.joined("further"):
            node.deploy([*NAMES, "--fault=token_s=1"], graceful_shutdown_timeout_s=600, **larger)
            [before] = node.processes("ServeReplica")
            asked = httpx.stream("POST", f"{node.url}/v1/chat/completions", json=body(600, True), trust_env=False)
            assert next(streams.enter_context(asked).iter_raw())
        node.wait(lambda: not before.is_running(), 120)

    with node.joined("further"):
        node.wait(lambda: [p for p in node.processes("ServeReplica") if p.pid != before.pid and node.serves()], 120)

        assert ask(node).status_code == 200


def test_what_vllm_refuses_is_what_serve_says(node):
    with pytest.raises(AssertionError, match="told to exit at start"):
        node.deploy([*NAMES, "--fault=exit_at_start"], max_constructor_retry_count=1)

    assert json.dumps(node.application()).count("DEPLOY_FAILED")
