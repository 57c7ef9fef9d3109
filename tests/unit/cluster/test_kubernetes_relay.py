"""The relay, with a stub in the API server's place. What passes through a real one, the conformance suite asks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from genai_pipeline.core.errors import NotFound
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from tests.unit.cluster.stub_api import TOKEN, Reply, StubApi, kubeconfig, stub_api

SERVICE = "/api/v1/namespaces/ns/services/m"
PROXY = "/api/v1/namespaces/ns/services/http:m:80/proxy"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StubApi]:
    with stub_api(tmp_path) as stub:
        stub.on("GET", SERVICE, Reply({"spec": {"clusterIP": "10.96.1.2", "ports": [{"port": 80}, {"port": 81}]}}))
        yield stub


@pytest.fixture
def cluster(api: StubApi) -> Iterator[KubernetesCluster]:
    cluster = KubernetesCluster("ns", api.kubeconfig, access="proxy", patience_s=2)
    yield cluster
    cluster.close()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=10) as client:
        yield client


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_every_method_goes_to_the_services_proxy_with_our_credentials(
    api: StubApi, cluster: KubernetesCluster, http: httpx.Client, method: str
) -> None:
    api.on(method, f"{PROXY}/v1/models", Reply("fine"))

    answer = http.request(method, f"{cluster.endpoint('m')}/v1/models?a=b", headers={"X-Own": "1"}, content=b"body")

    assert answer.text == "fine"
    seen = api.asked(method, "/proxy")[0]
    assert (seen.query, seen.body, seen.headers["X-Own"]) == ({"a": "b"}, b"body", "1")
    assert seen.headers["Authorization"] == f"Bearer {TOKEN}"
    assert "Authorization" not in answer.headers


def test_a_callers_own_authorization_does_not_take_the_place_of_ours(
    api: StubApi, cluster: KubernetesCluster, http: httpx.Client
) -> None:
    api.on("GET", f"{PROXY}/", Reply("fine"))
    http.get(cluster.endpoint("m"), headers={"Authorization": "Bearer of-the-caller"})

    assert api.asked("GET", "/proxy")[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_one_port_a_service_for_the_life_of_the_cluster_object(
    api: StubApi, cluster: KubernetesCluster, http: httpx.Client
) -> None:
    first = cluster.endpoint("m")

    assert cluster.endpoint("m") == first
    assert cluster.endpoint("m", 81) != first
    cluster.close()
    with pytest.raises(httpx.ConnectError):
        http.get(first)


def test_the_address_for_people_does_not_end_with_the_process(api: StubApi, cluster: KubernetesCluster) -> None:
    assert cluster.address("m") == "http://m.ns.svc:80"
    with pytest.raises(NotFound):
        cluster.address("unknown")


def test_an_answer_without_length_is_passed_on_and_head_has_no_body(
    api: StubApi, cluster: KubernetesCluster, http: httpx.Client
) -> None:
    api.on("GET", f"{PROXY}/stream", Reply(events=[{"n": 1}, {"n": 2}]))
    api.on("HEAD", f"{PROXY}/", Reply(""))
    url = cluster.endpoint("m")

    assert http.get(f"{url}/stream").text.split() == ['{"n":', "1}", '{"n":', "2}"]
    assert http.head(url).status_code == 200


def test_a_body_that_breaks_off_breaks_the_clients_connection_too(
    api: StubApi, cluster: KubernetesCluster, http: httpx.Client
) -> None:
    api.on("GET", f"{PROXY}/stream", Reply(events=[{"n": 1}], then="break"))

    with pytest.raises(httpx.HTTPError):
        http.get(f"{cluster.endpoint('m')}/stream")


def test_paths_that_the_api_server_rewrote_are_taken_as_they_are(
    api: StubApi, cluster: KubernetesCluster, http: httpx.Client
) -> None:
    api.on("GET", f"{PROXY}/page", Reply("the page"))

    assert http.get(f"{cluster.endpoint('m')}{PROXY}/page").text == "the page"


def test_no_api_server_is_a_502_that_holds_no_credential(
    api: StubApi, tmp_path: Path, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cluster = KubernetesCluster("ns", api.kubeconfig, access="proxy")
    url = cluster.endpoint("m")
    kubeconfig(api.kubeconfig, "http://127.0.0.1:9")
    cluster._connection.close()

    answer = http.get(url)

    assert answer.status_code == 502
    assert "does not pass this on" in answer.json()["error"]
    assert TOKEN not in answer.text + caplog.text
    cluster.close()
