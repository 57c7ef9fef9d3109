"""Deleting and ending."""

from __future__ import annotations

import httpx
import pytest

from genai_pipeline.core.errors import NotReady
from tests.conformance.world import World, config_map, until

STUBBORN = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"


def test_delete_waits_until_the_pods_are_gone_and_absent_is_fine(world: World) -> None:
    world.up(world.deployment(), world.service())
    address = world.address()
    world.cluster.delete("Deployment", "m")

    assert world.pods() == []
    assert world.cluster.get("Deployment", "m") is None
    with pytest.raises(httpx.TransportError):
        world.http.get(address, timeout=1)
    world.cluster.delete("Deployment", "m")
    world.cluster.delete("Service", "nothing")


def test_delete_of_what_has_no_pods_is_done_at_once(world: World) -> None:
    world.cluster.apply([config_map(a="1"), world.service()])
    world.cluster.delete("ConfigMap", "settings")
    world.cluster.delete("Service", "m")

    assert world.cluster.get("ConfigMap", "settings") is None
    assert world.cluster.get("Service", "m") is None


def test_a_delete_that_takes_too_long_ends_at_its_deadline(world: World) -> None:
    deployment = world.deployment(command=[world.python, "-c", STUBBORN], readinessProbe=None)
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 3
    world.up(deployment)
    until(lambda: "up" in world.cluster.logs({"app": "m"}))

    with pytest.raises(NotReady, match="still there"):
        world.cluster.delete("Deployment", "m", deadline_s=0.5)
    world.cluster.delete("Deployment", "m")
    world.cluster.wait_gone({"app": "m"}, 30)


def test_the_grace_period_ends_a_container_that_ignores_the_stop_signal_and_counts_pre_stop(world: World) -> None:
    hook = {"preStop": {"sleep": {"seconds": 2}}}
    deployment = world.deployment(command=[world.python, "-c", STUBBORN], readinessProbe=None, lifecycle=hook)
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2
    world.up(deployment)
    until(lambda: "up" in world.cluster.logs({"app": "m"}))

    world.cluster.delete("Deployment", "m", deadline_s=20)
    assert world.pods() == []


def test_pre_stop_runs_before_the_stop_signal(world: World) -> None:
    """The hook tells a witness, which outlives the pod."""
    world.up(world.deployment("witness"))
    tell = "import os, urllib.request as r; r.urlopen(os.environ['WITNESS'] + '/note/stopping', b'').read()"
    env = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "WITNESS", "value": world.address("witness")},
    ]
    hook = {"preStop": {"exec": {"command": [world.python, "-I", "-S", "-c", tell]}}}
    world.up(world.deployment(lifecycle=hook, env=env))
    world.cluster.delete("Deployment", "m")

    assert world.http.get(f"{world.address('witness')}/notes").text == "stopping"


FAMILY = """
import os, signal, subprocess, sys, time, urllib.request as r

def tell(who):
    r.urlopen(os.environ['WITNESS'] + '/note/' + who, b'').read()

def told(who, pause_s):
    tell(who + '-stops')
    time.sleep(pause_s)
    os._exit(0)

child = len(sys.argv) == 1
who = 'child' if child else 'main'
signal.signal(signal.SIGTERM, lambda *_: told(who, 0 if child else 1))
if not child:
    subprocess.Popen([sys.executable, '-c', os.environ['FAMILY']], env=os.environ)
else:
    tell('child-is-up')
time.sleep(99)
"""


def test_the_stop_signal_goes_to_the_main_process_alone(world: World) -> None:
    """A server with workers drains in its own order. Each process tells a witness of its signal."""
    world.up(world.deployment("witness"))
    env = [{"name": "WITNESS", "value": world.address("witness")}, {"name": "FAMILY", "value": FAMILY}]
    command = [world.python, "-c", FAMILY, "main"]
    world.up(world.deployment(command=command, args=[], readinessProbe=None, env=env))
    until(lambda: world.http.get(f"{world.address('witness')}/notes").text == "child-is-up")

    world.cluster.delete("Deployment", "m")

    assert world.http.get(f"{world.address('witness')}/notes").text == "child-is-up,main-stops"
