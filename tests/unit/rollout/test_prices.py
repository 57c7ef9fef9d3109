import pytest

from genai_pipeline.rollout.capacity.prices import replica_price
from genai_pipeline.rollout.pools.instance_types import packaged
from genai_pipeline.rollout.pools.pool_room import PoolRoom
from tests.fakes.model_texts import model_with_tools

KNOWN = packaged("us-east-1")
NODE = KNOWN.named("g6e.xlarge")


def price(args="", per_node=1):
    spec = model_with_tools(
        f"name: large\nsource: {{hub: a/b}}\nserving: {{engine: ray, gpu: {{count: 1}}, args: {{{args}}}}}\n", "f"
    )
    return replica_price(spec, PoolRoom("gpu", 0, 8, per_node, NODE, "none"), KNOWN)


@pytest.mark.parametrize(
    ("args", "per_node", "nodes"),
    [
        ("", 1, 1),
        ("", 4, 1 / 4),
        ("tensor-parallel-size: 2, pipeline-parallel-size: 2", 1, 4),
        ("tensor-parallel-size: 2", 4, 1 / 2),
    ],
)
def test_a_replica_costs_the_nodes_of_all_its_pods(args, per_node, nodes):
    assert price(args, per_node).usd_per_hour == pytest.approx(NODE.usd_per_hour * nodes, abs=1e-4)


def test_it_is_said_how_many_pods_a_replica_has():
    assert "4 pods a replica" in price("pipeline-parallel-size: 4").source
    assert "pods" not in price().source
