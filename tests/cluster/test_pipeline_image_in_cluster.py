"""The image of `make pipeline-image` in the chart: each part of Dagster starts, and a rollout's run ends well in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from genai_pipeline.core.record import Phase
from tests.cluster.dagster_in_cluster.installation import NAME, helm_of, install_dagster
from tests.cluster.dagster_in_cluster.model import quick_model
from tests.cluster.life.images import NEEDED, can_build, pipeline_image
from tests.cluster.life.rollouts import wait_until_ended
from tests.cluster.life.surroundings import Installation, installed
from tests.cluster.life.weather import MODEL, not_passed, revision

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.needs("pods"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(not can_build(), reason=f"needs root, {', '.join(NEEDED)}"),
]


@pytest.fixture(scope="module")
def installation(real, tmp_path_factory) -> Iterator[Installation]:
    with installed(real, tmp_path_factory, "image", quick_model()) as installation:
        (archive,) = pipeline_image().glob("*.tar")
        install_dagster(installation, archive)
        yield installation


def test_the_webserver_has_loaded_the_code_location(installation):
    tested = helm_of(installation, "test", NAME)

    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_model_of_the_charts_values_goes_live(installation):
    installation.publish("v1")
    v1 = wait_until_ended(installation, MODEL, revision("v1"))

    assert v1.record.phase is Phase.LIVE, v1.why
    assert not_passed(v1.record) == {}
