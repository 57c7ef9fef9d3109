"""One cluster of each form per worker, a fresh namespace per test, and what a failed test's namespace says.

With KUBECONFIG set (and not by `machine run`) the tests run against that cluster instead.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.cluster.machine import node
from tests.cluster.machine.build import built, on_path
from tests.cluster.machine.cluster import ABILITIES, Form, RunningCluster, down, find, up
from tests.cluster.machine.given import GivenCluster
from tests.cluster.machine.namespaces import create_namespace, delete_namespace, what_happened

Cluster = RunningCluster | GivenCluster
FreshNamespace = Callable[[Cluster], str]

_NAME = "-".join(filter(None, (os.environ.get("GENAI_TEST_CLUSTER", "dev"), os.environ.get("PYTEST_XDIST_WORKER"))))
_GIVEN = os.environ.get("KUBECONFIG") if "GENAI_TEST_CLUSTER" not in os.environ else None
_REAL = pytest.StashKey[RunningCluster]()
_NAMESPACES = pytest.StashKey[list[tuple[Cluster, str]]]()
_started: list[tuple[str, Form]] = []
LONGEST = (
    "test_ray_switches.py",
    "test_life_of_a_model.py",
    "test_switch_matrix.py",
    "test_rbac.py",
    "test_diagnosis.py",
    "test_killed_cutover.py",
    "test_machine.py",
)
"""Started first, so that no worker is left alone with one of them at the end."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*abilities): skipped where the cluster lacks one of them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Enter the real node's network before any test: what a test starts later is inside too."""
    wanted = any("real" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not _GIVEN and not session.config.option.collectonly and node.can_run():
        cluster = _started_or_found(_NAME, "real")
        cluster.enter()
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
        session.config.stash[_REAL] = cluster


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture, so that nothing is tried on a cluster that lacks what it takes."""
    has = {form: _given().has if _GIVEN else abilities for form, abilities in ABILITIES.items()}
    for mark in item.iter_markers("needs"):
        for form in set(has) & set(getattr(item, "fixturenames", ())):
            lacking = set(mark.args) - has[form]
            if lacking:
                pytest.skip(f"this cluster has no {', '.join(sorted(lacking))}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Not in pytest_unconfigure, which pytest-xdist gives a worker ten seconds for."""
    for name, form in _started:
        down(name, form)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed and report.when == "call":
        for cluster, namespace in item.stash.get(_NAMESPACES, []):
            report.sections.append((f"namespace {namespace}", what_happened(cluster.kubeconfig, namespace)))
    return report


@pytest.fixture(scope="session", autouse=True)
def _programs_of_the_cluster() -> None:
    """Beside a cluster of ours kubectl is the one that was built for it, else the one of this machine."""
    if not _GIVEN:
        os.environ["PATH"] = on_path(built("real" if node.can_run() else "simulated"))


@pytest.fixture(scope="session")
def simulated(pytestconfig: pytest.Config) -> Cluster:
    """A cluster whose nodes are simulated: Karpenter, kwok and KubeRay, no real containers."""
    if _GIVEN:
        return _given()
    found = find(_NAME, "simulated")
    # One that was started outside the real node's network cannot be reached from inside it.
    return found if found and found.answers() else _started_or_found(f"test-{os.getpid()}", "simulated")


@pytest.fixture(scope="session")
def real(pytestconfig: pytest.Config) -> Cluster:
    """A cluster with a real node; this process is inside its network."""
    if _GIVEN:
        return _given()
    if _REAL not in pytestconfig.stash:
        pytest.skip(f"a real node needs {node.lacking()}")
    return pytestconfig.stash[_REAL]


@pytest.fixture
def fresh_namespace(request: pytest.FixtureRequest) -> Iterator[FreshNamespace]:
    """Makes a namespace in a cluster; it is deleted at the end."""
    made = request.node.stash.setdefault(_NAMESPACES, [])

    def make(cluster: Cluster) -> str:
        namespace = f"test-{uuid.uuid4().hex[:8]}"
        create_namespace(cluster.kubeconfig, namespace)
        made.append((cluster, namespace))
        return namespace

    yield make
    for cluster, namespace in made:
        delete_namespace(cluster.kubeconfig, namespace)


@cache
def _given() -> GivenCluster:
    return GivenCluster(Path(_GIVEN or ""))


def _started_or_found(name: str, form: Form) -> RunningCluster:
    if not find(name, form):
        _started.append((name, form))
    return up(name, form)
