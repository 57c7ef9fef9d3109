"""A wait that fails names cause and remedy, and lasts while there is hope: on real pods and a real Karpenter."""

from __future__ import annotations

import copy
import http.server
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.k8s.render import render_node_pools
from tests.cluster.conftest import Cluster
from tests.cluster.failing.cases import Case, Outcome, waited_for
from tests.cluster.failing.pods import on_a_real_node
from tests.cluster.failing.pools import on_simulated_nodes
from tests.cluster.gpu_pools import apply_empty_pools, model, pool, profile_of
from tests.cluster.identities import kubectl
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.fakes.listening import Listening

NEEDS_OF_POOLS = {"karpenter", "kwok"}
ENFORCE = "pod-security.kubernetes.io/enforce"
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


@pytest.fixture(scope="module")
def registry(real: Cluster) -> Iterator[str]:
    """On loopback, where container runtimes speak plain HTTP; this process is in the node's network."""
    with Listening(_Registry) as server:
        yield server.address.removeprefix("http://")


@pytest.fixture(scope="module")
def on_pods(
    request: pytest.FixtureRequest, real: Cluster, registry: str
) -> Iterator[Mapping[str, tuple[Case, Outcome]]]:
    """A namespace for each: a wait reads the events of its whole namespace, and crashes make many."""
    _let_those_on_pools_wait_beside(request)
    cases = on_a_real_node(registry)
    spaces = {case.name: f"{MINE}-{case.name}" for case in cases}
    with made(spaces.values(), real):
        outcomes = waited_for(cases, spaces, real.kubeconfig)
        yield {case.name: (case, outcomes[case.name]) for case in cases}


def _let_those_on_pools_wait_beside(request: pytest.FixtureRequest) -> None:
    """By no fixture of this name: a test that asks for `simulated` is skipped where that form lacks what it needs."""
    asked_for = any("waits_on_pools" in getattr(item, "fixturenames", ()) for item in request.session.items)
    if asked_for and request.getfixturevalue("simulated").has >= NEEDS_OF_POOLS:
        request.getfixturevalue("waits_on_pools")


@contextmanager
def made(namespaces: Iterable[str], cluster: Cluster) -> Iterator[None]:
    """Namespaces, made and removed side by side."""
    with ThreadPoolExecutor(8) as at_once:
        list(at_once.map(lambda name: create_namespace(cluster.kubeconfig, name), namespaces))
        try:
            yield
        finally:
            list(at_once.map(lambda name: delete_namespace(cluster.kubeconfig, name), namespaces))


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
        apply_empty_pools(cluster, ours)
        yield
        for one in cluster.list("NodePool"):
            cluster.delete("NodePool", one["metadata"]["name"])


@pytest.fixture(scope="module")
def waits_on_pools(simulated: Cluster, pools: None) -> Iterator[Future[Mapping[str, Outcome]]]:
    """What the waits will have said: they go on while those on pods do."""
    cases = on_simulated_nodes(MINE)
    spaces = {where: f"{MINE}-{where or 'pools'}" for where in ("", "restricted", "quota", "range")}
    with made(spaces.values(), simulated), ThreadPoolExecutor(1) as beside:
        kubectl(simulated.kubeconfig, "label", "namespace", spaces["restricted"], f"{ENFORCE}=restricted")
        by_name = {case.name: spaces[case.where] for case in cases}
        yield beside.submit(waited_for, cases, by_name, simulated.kubeconfig)


@pytest.fixture(scope="module")
def on_pools(waits_on_pools: Future[Mapping[str, Outcome]]) -> Mapping[str, tuple[Case, Outcome]]:
    outcomes = waits_on_pools.result()
    return {case.name: (case, outcomes[case.name]) for case in on_simulated_nodes(MINE)}


@pytest.mark.needs("pods")
@pytest.mark.parametrize("name", ON_PODS)
def test_a_container_that_does_not_come_up_says_why(
    name: str, real: Cluster, on_pods: Mapping[str, tuple[Case, Outcome]]
) -> None:
    assert_diagnosed(*on_pods[name])


@pytest.mark.needs(*NEEDS_OF_POOLS)
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
    assert outcome.ended_as(case.ends), outcome.text
