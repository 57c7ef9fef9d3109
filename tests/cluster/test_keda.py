"""Plain vLLM follows its load by the real KEDA: our ScaledObject, its autoscaler, and a Prometheus that scrapes.

That Prometheus runs what the real Prometheus operator wrote of our PodMonitors, so that no part of the way is made up
but the engine.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.gateways.cluster.pods import is_ready
from genai_pipeline.k8s.engine_autoscaler import why_not_scaling
from genai_pipeline.k8s.render import (
    release_labels,
    render_engine,
    render_monitoring,
    render_namespace,
    render_node_pools,
)
from genai_pipeline.loadtest.probe import ContinuousProbe, ProbeResult
from genai_pipeline.local.ports import free_port
from tests.cluster.gpu_pools import nodes_of, profile_of
from tests.cluster.lane import MODEL, SPEC, Lane, release
from tests.cluster.machine.cluster import until
from tests.cluster.machine.node import NODE_ADDRESS
from tests.cluster.operators.keda import keda
from tests.cluster.operators.prometheus_operator import Generated, host_program, prometheus_object, prometheus_operator
from tests.cluster.switching import lane_in
from tests.fakes.managed_prometheus import KEY, QUERY, REGION, SECRET, ManagedPrometheus, Workspace
from tests.fakes.model_texts import model_with_tools

pytestmark = pytest.mark.nightly
SCALES_S = 300
"""An autoscaler looks every 15 s, at figures that are up to 15 s old."""
MOST = 3
BUSY, IDLE = 80, 4
"""Requests per second, whatever the answers take: several times the target of one replica, and a part of it."""
REPLICAS = {"max": MOST, "target_ongoing_requests": 2, "upscale_delay_s": 1, "downscale_delay_s": 5}
SERVING = SPEC.serving.model_copy(update={"replicas": SPEC.serving.replicas.model_copy(update=REPLICAS)})
FOLLOWS = SPEC.model_copy(update={"serving": SERVING})
A, B = release("a", FOLLOWS), release("b", FOLLOWS)


@dataclass(frozen=True)
class Scaled:
    """From one replica to the most and back.

    `without_figures`: what the product says of the ScaledObject while its Prometheus is away, and the replicas then.
    """

    lane: Lane
    busy: ProbeResult
    idle: ProbeResult
    without_figures: tuple[str, int]


def ready(lane: Lane, of: Release) -> int:
    return sum(is_ready(pod) for pod in lane.cluster.list("Pod", release_labels(of, "engine")))


def why(lane: Lane, of: Release) -> str:
    """What `genai doctor` says of its ScaledObject; nothing if it scales."""
    return why_not_scaling(lane.cluster.get("ScaledObject", of.object_name) or {})


def unmeasured(lane: Lane, of: Release) -> str:
    """The same, once it is about absent figures."""
    said = why(lane, of)
    return said if "figures" in said else ""


@contextmanager
def chain(real: Any, folder: Path, namespace: str) -> Iterator[tuple[Lane, Generated, int]]:
    """The operators, and a lane whose engines they scale. Its Prometheus is to run at the port."""
    host_program("prometheus")  # without one nothing is started
    port = free_port()
    address = f"http://{NODE_ADDRESS}:{port}"
    with (
        prometheus_operator(real, folder),
        keda(real, folder),
        lane_in(real, namespace, specs=(FOLLOWS,), prometheus=address) as lane,
    ):
        found = Generated(real.kubeconfig, namespace)
        found.apply(prometheus_object(namespace, remoteWrite=None), *render_monitoring(lane.profile))
        until(lambda: "podMonitor/genai-engine" in found.jobs(), "the job of the engines", SCALES_S)
        try:
            yield lane, found, port
        finally:
            # Only KEDA lets go of them, and it ends before the namespace does.
            for one in lane.cluster.list("ScaledObject"):
                lane.cluster.delete("ScaledObject", one["metadata"]["name"])


@pytest.fixture(scope="module")
def scaled(real, tmp_path_factory) -> Iterator[Scaled]:
    folder = tmp_path_factory.mktemp("keda")
    with chain(real, folder, f"test-keda-{uuid.uuid4().hex[:8]}") as (lane, generated, port):
        with generated.running(folder / "prometheus", NODE_ADDRESS, port):
            lane.roll_out(A)
            until(lambda: not why(lane, A), "a ScaledObject that scales", SCALES_S)
            with ContinuousProbe(lane.url, MODEL, rate_per_s=BUSY) as probe:
                until(lambda: ready(lane, A) == MOST, f"{MOST} replicas", SCALES_S)
                probe.see(5 * BUSY, 60)
                busy = probe.result()
        said = until(lambda: unmeasured(lane, A), "a word about absent figures", SCALES_S)
        alone = (said, ready(lane, A))
        with (
            generated.running(folder / "prometheus", NODE_ADDRESS, port),
            ContinuousProbe(lane.url, MODEL, rate_per_s=IDLE) as probe,
        ):
            until(lambda: len(lane.cluster.list("Pod", release_labels(A, "engine"))) == 1, "one replica", SCALES_S)
            probe.see(5 * IDLE, 60)
            yield Scaled(lane, busy, probe.result(), alone)


@pytest.mark.needs("pods")
@pytest.mark.timeout(1800)
def test_no_request_fails_while_replicas_come_and_go_with_the_load(scaled, record_property):
    record_property("requests", scaled.busy.total_sent + scaled.idle.total_sent)

    assert scaled.busy.causes == {}
    assert scaled.idle.causes == {}
    assert scaled.busy.total_sent > 5 * BUSY


@pytest.mark.needs("pods")
@pytest.mark.timeout(1800)
def test_without_figures_the_number_of_replicas_stays(scaled):
    said, replicas = scaled.without_figures

    assert "figures cannot be read" in said
    assert replicas == MOST


@pytest.mark.needs("pods")
@pytest.mark.timeout(1800)
def test_after_a_switch_keda_scales_the_new_release_and_leaves_the_stopped_one(scaled):
    lane = scaled.lane

    verdicts = lane.roll_out(B)

    assert [v.summary for v in verdicts if not v.passed] == []
    until(lambda: not why(lane, B), "a ScaledObject that scales", SCALES_S)
    autoscalers = [o["spec"]["scaleTargetRef"]["name"] for o in lane.cluster.list("HorizontalPodAutoscaler")]
    assert autoscalers == [B.object_name]
    assert lane.state()["replicas"] == {A.id: 0, B.id: 1}


class Figure(ThreadingHTTPServer):
    """A Prometheus that answers each query with one number."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.value = 1.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Figure)
        found = [{"metric": {}, "value": [0, str(self.server.value)]}]
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def figure() -> Iterator[Figure]:
    with Figure() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


ON_GPU = model_with_tools(
    "name: big\nsource: {hub: a/b}\nserving:\n  gpu: {instance-family: g6e}\n  resources: {cpu: 2, memory_gib: 8}\n"
    "  replicas: {min: 1, max: 2, target_ongoing_requests: 2, upscale_delay_s: 1}\n",
    "models/big.yaml",
)


@pytest.mark.needs("karpenter", "kwok")
def test_a_node_with_a_gpu_is_bought_for_the_replica_that_keda_adds(simulated, fresh_namespace, figure, tmp_path):
    big = Release.of(ON_GPU, "c" * 40)
    with (
        keda(simulated, tmp_path),
        closing(KubernetesCluster(fresh_namespace(simulated), simulated.kubeconfig)) as cluster,
    ):
        profile = replace(profile_of(cluster.namespace), prometheus_url=figure.url)
        cluster.apply([*render_node_pools(profile, [ON_GPU]), *render_namespace(profile)])
        cluster.apply(render_engine(ON_GPU, big, profile))

        def hosts() -> set[str]:
            found = [pod for pod in cluster.list("Pod", release_labels(big, "engine")) if is_ready(pod)]
            return {pod["spec"]["nodeName"] for pod in found}

        (first,) = until(hosts, "the first replica")
        figure.value = 3.0

        until(lambda: hosts() > {first}, "a second replica on a node of its own", SCALES_S)

        assert hosts() <= {node["metadata"]["name"] for node in nodes_of(cluster)}
        cluster.delete("ScaledObject", big.object_name)


@pytest.mark.needs("karpenter", "kwok")
def test_kedas_own_role_asks_amazon_and_without_its_permission_the_number_stays(
    simulated, fresh_namespace, figure, tmp_path
):
    big, workspace = Release.of(ON_GPU, "d" * 40), Workspace()
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with (
        ManagedPrometheus({"ws-1": workspace}, figure.url) as amazon,
        keda(simulated, tmp_path, **keys),
        closing(KubernetesCluster(fresh_namespace(simulated), simulated.kubeconfig)) as cluster,
    ):
        address = f"https://aps-workspaces.{REGION}.amazonaws.com/workspaces/ws-1"
        profile = replace(profile_of(cluster.namespace), prometheus_url=address)
        objects = render_engine(ON_GPU, big, profile)
        (scaled_object,) = [o for o in objects if o["kind"] == "ScaledObject"]
        scaled_object["spec"]["triggers"][0]["metadata"]["serverAddress"] = amazon.url("ws-1")
        figure.value = 3.0
        cluster.apply([*render_namespace(profile), *objects])

        def replicas() -> int:
            return (cluster.get("Deployment", big.object_name) or {"spec": {}})["spec"].get("replicas", 0)

        def said() -> str:
            return why_not_scaling(cluster.get("ScaledObject", big.object_name) or {})

        until(lambda: replicas() == 2 and not said(), "two replicas by Amazon's figure", SCALES_S)
        workspace.denied = frozenset({QUERY})

        until(lambda: "figures cannot be read" in said(), "a word about absent figures", SCALES_S)

        assert replicas() == 2
        assert {status for _, status in workspace.answered} == {200, 403}
        cluster.delete("ScaledObject", big.object_name)
