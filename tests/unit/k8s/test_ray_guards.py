"""What keeps the pods of a live engine on Ray in place."""

import pytest

from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import render_guards
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE


@pytest.mark.parametrize(("engine", "least"), [("ray", 1), ("vllm", "50%")])
def test_kubernetes_cannot_ask_a_ray_cluster_for_the_share_that_must_stay(engine: str, least: int | str) -> None:
    spec = model_with_tools(f"name: tiny\nsource: {{hub: a/b}}\nserving: {{engine: {engine}}}\n")

    (budget,) = render_guards(Release.of(spec, "a" * 40), PROFILE)

    assert budget["spec"]["minAvailable"] == least


def test_no_pod_that_holds_a_part_of_a_replica_is_evicted() -> None:
    """Only one pod of a replica is ever ready: Serve runs no proxy where it placed no replica."""
    spec = model_with_tools(
        "name: tiny\nsource: {hub: a/b}\nserving: {engine: ray, gpu: {count: 1}, replicas: {min: 1, max: 2}, "
        "args: {pipeline-parallel-size: 2}}\n"
    )

    (budget,) = render_guards(Release.of(spec, "a" * 40), PROFILE)

    assert budget["spec"]["minAvailable"] > spec.serving.replicas.max
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "IfHealthyBudget"
