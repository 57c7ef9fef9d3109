"""A rollout while the API server makes trouble: it finishes, or it ends by its deadline and says why.

The trouble is a proxy's between the client and a real API server; the pods are real.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genai_pipeline.core.errors import ClusterUnavailable, NotReady
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from tests.cluster.conftest import Cluster, FreshNamespace
from tests.cluster.faulty_api import ONE_IN_TWENTY, FaultyApi, Trouble, faulty_api
from tests.cluster.kubernetes_world import KubernetesWorld, world_in
from tests.conformance.world import until, with_spec

pytestmark = pytest.mark.needs("pods")

CALLS_MAX = 60
DEADLINE_S = 120
AWAY_S = 4.0
SEEN_WITHIN_S = 0.5


@pytest.fixture
def api(real: Cluster, tmp_path: Path) -> Iterator[FaultyApi]:
    with faulty_api(real.kubeconfig, tmp_path) as api:
        yield api


@pytest.fixture
def world(api: FaultyApi, real: Cluster, fresh_namespace: FreshNamespace, tmp_path: Path) -> Iterator[KubernetesWorld]:
    world = world_in(fresh_namespace(real), real.kubeconfig, "direct", tmp_path, through=api.kubeconfig)
    yield world
    world.close()


def roll_out(world: KubernetesWorld) -> str:
    """Blue is live; green comes up beside it and gets the traffic; blue ends. Returns what answers then."""
    cluster = world.cluster
    cluster.apply([world.deployment("blue", says="blue"), world.service("m", app="blue")])
    cluster.wait_ready("blue", DEADLINE_S)
    cluster.apply([world.deployment("green", says="green"), world.service("green")])
    cluster.wait_ready("green", DEADLINE_S)
    cluster.apply([world.service("m", app="green")])
    cluster.scale("blue", 0)
    cluster.wait_gone({"app": "blue"}, DEADLINE_S)
    until(lambda: world.says() == "green")
    return world.says()


def calls_of(world: KubernetesWorld) -> int:
    assert isinstance(world.cluster, KubernetesCluster)
    return world.cluster.calls.total


def test_a_rollout_takes_few_calls(world: KubernetesWorld) -> None:
    assert roll_out(world) == "green"
    # until() asks for the Service's address over and over; the rollout itself does not.
    assert isinstance(world.cluster, KubernetesCluster)
    calls = dict(world.cluster.calls.by_verb_and_resource())
    calls.pop(("get", "services"), None)
    assert sum(calls.values()) <= CALLS_MAX, calls


def test_readiness_is_seen_as_soon_as_a_bare_watch_sees_it(world: KubernetesWorld) -> None:
    world.cluster.apply([world.deployment()])
    told: list[float] = []
    watching = threading.Thread(target=_bare_watch, args=(world, told))
    watching.start()

    world.cluster.wait_ready("m", DEADLINE_S)
    seen = time.monotonic()

    watching.join(DEADLINE_S)
    assert seen - told[0] <= SEEN_WITHIN_S


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (Trouble(delay_s=0.2), "delay"),
        (Trouble(fail_every=ONE_IN_TWENTY), "fail"),
        (Trouble(fail_every=3), "fail"),
        (Trouble(throttle=3), "throttle"),
        (Trouble(drop_every=ONE_IN_TWENTY), "drop"),
        (Trouble(drop_every=2), "drop"),
        (Trouble(forget=3), "forget"),
        (Trouble(delay_s=0.2, fail_every=ONE_IN_TWENTY, drop_every=ONE_IN_TWENTY, throttle=2, forget=1), "fail"),
    ],
    ids=[
        "200 ms slow",
        "5 % of 500s",
        "a third of 500s",
        "429",
        "5 % of watches dropped",
        "half of all dropped",
        "410",
        "all at once",
    ],
)
def test_a_rollout_finishes_in_spite_of(world: KubernetesWorld, api: FaultyApi, trouble: Trouble, kind: str) -> None:
    api.trouble = trouble

    assert roll_out(world) == "green"
    assert api.made[kind] > 0


def test_an_api_server_that_restarts_during_a_wait_is_waited_for(world: KubernetesWorld, api: FaultyApi) -> None:
    """Nobody hears of the readiness while it is away: it is found when the API is back."""
    world.cluster.apply([with_spec(world.deployment(), minReadySeconds=1)])
    said: list[str] = []
    away = threading.Thread(target=_away, args=(api, said))
    away.start()

    ready = world.cluster.wait_ready("m", DEADLINE_S, said.append)

    away.join()
    assert ready["status"]["availableReplicas"] == 1
    assert api.made["away"] == 1


def test_calls_while_the_api_server_restarts_are_answered_when_it_is_back(
    world: KubernetesWorld, api: FaultyApi
) -> None:
    api.go_away()
    back = threading.Timer(AWAY_S / 2, api.come_back)
    back.start()

    assert world.cluster.apply([world.service()])[0].action == "created"
    back.join()


def test_an_api_server_that_stays_away_ends_the_wait_by_its_deadline_with_what_is_known(
    world: KubernetesWorld, api: FaultyApi
) -> None:
    world.cluster.apply([world.deployment(args=["$(POD_IP)", "8000", "--unhealthy"])])
    said: list[str] = []
    threading.Thread(target=_gone_once_seen, args=(api, said)).start()
    begun = time.monotonic()

    with pytest.raises(NotReady, match="0 of 1 replicas available") as error:
        world.cluster.wait_ready("m", 5, said.append)

    assert "does not answer at the end" in str(error.value)
    assert time.monotonic() - begun < DEADLINE_S
    api.come_back()


def test_an_api_server_that_hangs_is_unavailable_by_the_deadline(world: KubernetesWorld, api: FaultyApi) -> None:
    world.cluster.apply([world.deployment(replicas=0)])
    api.trouble = Trouble(hang=True)
    begun = time.monotonic()

    with pytest.raises(ClusterUnavailable, match="Deployment m"):
        world.cluster.wait_ready("m", 2)

    assert time.monotonic() - begun < 30  # one answer is held back for 60 s


def _away(api: FaultyApi, said: list[str]) -> None:
    until(lambda: said)
    api.go_away()
    api.over.wait(AWAY_S)
    api.come_back()


def _gone_once_seen(api: FaultyApi, said: list[str]) -> None:
    until(lambda: said)
    api.go_away()


def _bare_watch(world: KubernetesWorld, told: list[float]) -> None:
    """Notes when the official client's own watch hears of the first available replica."""
    from kubernetes import client, config, watch

    with config.new_client_from_config(str(world.kubeconfig)) as api:
        deployments = client.AppsV1Api(api).list_namespaced_deployment
        for event in watch.Watch().stream(deployments, world.cluster.namespace, timeout_seconds=DEADLINE_S):
            if event["object"].status.available_replicas:  # pyright: ignore[reportIndexIssue]
                told.append(time.monotonic())
                return
