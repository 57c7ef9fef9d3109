from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from tests.unit.cluster.stub_api import StubApi, stub_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StubApi]:
    with stub_api(tmp_path) as stub:
        yield stub


@pytest.fixture
def cluster(api: StubApi) -> Iterator[KubernetesCluster]:
    cluster = KubernetesCluster("ns", api.kubeconfig)
    yield cluster
    cluster.close()
