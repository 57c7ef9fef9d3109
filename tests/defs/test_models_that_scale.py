"""The graph of a model of plain vLLM whose replicas follow the load: it goes live, or says early what it lacks."""

from dataclasses import replace

import pytest

from genai_pipeline.core.model_file import ModelFiles, parse_model
from genai_pipeline.core.record import Phase
from tests.defs.desk import Desk
from tests.fakes.world import KUBERNETES, World

SCALED = parse_model(
    "name: tiny\nsource: {hub: owner/tiny, ref: main}\nagent: none\nserving: {replicas: {min: 1, max: 3}}\n"
    "rollout: {watch_minutes: 0}\n",
    "models/tiny.yaml",
)
WATCHED = replace(KUBERNETES, prometheus_url="http://prometheus.monitoring.svc:9090")


def scalers(desk: Desk) -> list[str]:
    return [found["metadata"]["name"] for found in desk.world.cluster.list("ScaledObject")]


def test_two_releases_go_live_and_only_the_second_one_is_scaled(desk):
    desk.load(ModelFiles((SCALED,), ()))
    for version in ("v1", "v2"):
        desk.world.hub.publish(version)
        assert desk.roll_out().success

    record = desk.record(desk.live)
    assert record.phase is Phase.LIVE
    assert scalers(desk) == [record.as_release.object_name]


@pytest.mark.parametrize(
    ("profile", "unknown", "said", "remedy"),
    [(WATCHED, {"ScaledObject"}, "no KEDA", "Install KEDA"), (KUBERNETES, set(), "no Prometheus", "GENAI_PROMETHEUS")],
    ids=["KEDA", "Prometheus"],
)
def test_what_it_lacks_is_said_by_its_capacity_before_anything_of_it_starts(profile, unknown, said, remedy):
    desk = Desk(World(), profile=profile)
    desk.load(ModelFiles((SCALED,), ()))
    desk.world.cluster.unknown_kinds = unknown
    desk.world.hub.publish("v1")

    assert not desk.prove().success

    (release,) = desk.releases
    verdicts = desk.record(release).verdicts
    for check in ("surge_fits", "strategy_chosen"):
        assert said in verdicts[f"capacity.{check}"].summary
        assert remedy in verdicts[f"capacity.{check}"].summary
    assert not [name for name in verdicts if name.startswith("candidate.")]
    assert not desk.world.cluster.list("Deployment", {"app.kubernetes.io/component": "engine"})
