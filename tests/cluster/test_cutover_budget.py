"""What a rollout costs the API server: a count that no polling may creep into."""

from __future__ import annotations

import pytest

from tests.cluster.lane import AGENT_IMAGE, Lane, release

CALLS_MAX = 60
pytestmark = [pytest.mark.needs("pods")]


@pytest.fixture
def lane(real, fresh_namespace, tmp_path):
    real.import_image(AGENT_IMAGE.write(tmp_path / "agent.tar"))
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    return Lane(real.kubeconfig, fresh_namespace(real), bucket, agents=True)


def test_a_rollout_asks_the_api_at_most_sixty_times(lane, record_property):
    lane.roll_out(release("a"))
    before = lane.cluster.calls.by_verb_and_resource()

    verdicts = lane.roll_out(release("b"))

    after = lane.cluster.calls.by_verb_and_resource()
    spent = {call: n - before.get(call, 0) for call, n in after.items() if n > before.get(call, 0)}
    record_property("calls", {f"{verb} {resource}": n for (verb, resource), n in spent.items()})
    assert all(v.passed for v in verdicts)
    assert sum(spent.values()) <= CALLS_MAX, spent
