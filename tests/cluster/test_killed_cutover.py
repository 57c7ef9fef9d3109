"""The pipeline killed where agents come in: what is live goes on answering, and a rerun ends as if nothing had been.

The other states are those of test_switch_matrix.py.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.cluster.lane import AGENT_IMAGE, MODEL, Lane, release
from tests.cluster.load import Load
from tests.cluster.machine.images import Image

AGENT = Path(__file__).parents[1] / "fakes" / "agent_server.py"
pytestmark = [pytest.mark.needs("pods")]


def import_agent(cluster, folder):
    image = Image(AGENT_IMAGE, [sys.executable, "-I", "-S", "/srv/server.py"], {"/srv/server.py": AGENT})
    cluster.import_image(image.write(folder / "agent.tar"))


@pytest.fixture
def lane(real, fresh_namespace, tmp_path):
    import_agent(real, tmp_path)
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


def test_a_rollout_asks_the_api_at_most_sixty_times(lane, record_property):
    lane.roll_out(release("a"))
    before = lane.cluster.calls.by_verb_and_resource()

    verdicts = lane.roll_out(release("b"))

    after = lane.cluster.calls.by_verb_and_resource()
    spent = {call: n - before.get(call, 0) for call, n in after.items() if n > before.get(call, 0)}
    record_property("calls", {f"{verb} {resource}": n for (verb, resource), n in spent.items()})
    assert all(v.passed for v in verdicts)
    assert sum(spent.values()) <= 60, spent
