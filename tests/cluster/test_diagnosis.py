"""A wait that fails names cause and remedy, and lasts while there is hope: on real pods and a real Karpenter."""

from __future__ import annotations

import copy
import http.server
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest

from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.k8s.render import render_node_pools
from tests.cluster.conftest import Cluster
from tests.cluster.failing.cases import Case, Outcome, waited_for
from tests.cluster.failing.pods import on_a_real_node
from tests.cluster.failing.pools import on_simulated_nodes
from tests.cluster.gpu_pools import model, pool, profile_of
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.cluster.machine.objects import apply

MINE = f"diagnosis-{os.getpid()}"
ON_PODS = [case.name for case in on_a_real_node("")]
ON_POOLS = [case.name for case in on_simulated_nodes("")]


class _Registry(http.server.BaseHTTPRequestHandler):
    """Says no, in three ways."""

    def do_GET(self) -> None:
        codes = {"missing": 404, "denied": 403, "down": 503}
        code = next((code for name, code in codes.items() if f"/{name}/" in self.path), 200)
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def registry(real: Cluster) -> Iterator[str]:
    """On loopback, where container runtimes speak plain HTTP; this process is in the node's network."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def on_pods(real: Cluster, registry: str) -> Iterator[Mapping[str, tuple[Case, Outcome]]]:
    namespace, cases = f"{MINE}-pods", on_a_real_node(registry)
    create_namespace(real.kubeconfig, namespace)
    outcomes = waited_for(cases, {"": namespace}, real.kubeconfig)
    yield {case.name: (case, outcomes[case.name]) for case in cases}
    delete_namespace(real.kubeconfig, namespace)


@pytest.fixture(scope="module")
def pools(simulated: Cluster) -> Iterator[None]:
    """Ours, and two that are soon full."""
    with closing(KubernetesCluster("default", simulated.kubeconfig)) as cluster:
        ours = render_node_pools(profile_of("default"), [model()])
        for name, limit in (("off", "0"), ("one", "1")):
            tight = copy.deepcopy(pool(cluster))
            tight["metadata"]["name"] = f"{MINE}-{name}"
            tight["spec"]["limits"] = {"nvidia.com/gpu": limit}
            # The lightest: no pod lands here unless it asks for this pool.
            tight["spec"]["weight"] = 1
            ours.append(tight)
        cluster.apply(ours)
        yield
        for one in cluster.list("NodePool"):
            cluster.delete("NodePool", one["metadata"]["name"])


@pytest.fixture(scope="module")
def on_pools(simulated: Cluster, pools: None) -> Iterator[Mapping[str, tuple[Case, Outcome]]]:
    cases = on_simulated_nodes(MINE)
    spaces = {where: f"{MINE}-{where or 'pools'}" for where in ("", "restricted", "quota", "range")}
    for where, name in spaces.items():
        create_namespace(simulated.kubeconfig, name)
        labels = {"pod-security.kubernetes.io/enforce": where} if where == "restricted" else {}
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        apply(simulated.kubeconfig, [space])
    outcomes = waited_for(cases, spaces, simulated.kubeconfig)
    yield {case.name: (case, outcomes[case.name]) for case in cases}
    for name in spaces.values():
        delete_namespace(simulated.kubeconfig, name)


@pytest.mark.needs("pods")
@pytest.mark.parametrize("name", ON_PODS)
def test_a_container_that_does_not_come_up_says_why(
    name: str, real: Cluster, on_pods: Mapping[str, tuple[Case, Outcome]]
) -> None:
    assert_diagnosed(*on_pods[name])


@pytest.mark.needs("karpenter", "kwok")
@pytest.mark.parametrize("name", ON_POOLS)
def test_a_pod_that_gets_no_place_says_why(
    name: str, simulated: Cluster, on_pools: Mapping[str, tuple[Case, Outcome]]
) -> None:
    assert_diagnosed(*on_pools[name])


def assert_diagnosed(case: Case, outcome: Outcome) -> None:
    if not case.says:
        assert not outcome.text
        return
    cause = outcome.text.partition("Likely cause: ")[2].partition("\n")[0]
    remedy = outcome.text.rpartition("\n")[2]
    missing = [words for words in case.says if words not in f"{cause} {remedy}"]
    assert not missing, outcome.text
    assert case.ends is None or outcome.in_vain == case.ends, outcome.text
