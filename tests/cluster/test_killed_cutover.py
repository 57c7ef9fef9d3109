"""The pipeline killed where agents come in: what is live goes on answering, and a rerun ends as if nothing had been.

The other states are those of test_switch_matrix.py.
"""

from __future__ import annotations

import signal

import pytest

from tests.cluster.lane import AGENT_IMAGE, MODEL, Lane, release
from tests.cluster.load import Load

pytestmark = [pytest.mark.needs("pods")]


@pytest.fixture
def lane(real, fresh_namespace, tmp_path):
    real.import_image(AGENT_IMAGE.write(tmp_path / "agent.tar"))
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    return Lane(real.kubeconfig, fresh_namespace(real), bucket, agents=True)


def test_killed_with_agents_the_live_release_goes_on_and_a_rerun_converges(lane):
    old, new = release("a"), release("b")
    lane.roll_out(old)
    with Load(lane.url, MODEL, 150) as load:
        for state in ("rollout.agent_applied", "rollout.stopping"):
            assert lane.roll_out_elsewhere(new, state) == -signal.SIGKILL
            assert lane.roll_out_elsewhere(new) == 0
            assert lane.state() == lane.wanted(new, old)
            old, new = new, old
        seen = load.take()

    assert seen.causes == {}
    assert seen.sent.total() >= 2000
