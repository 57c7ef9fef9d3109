"""The pipeline killed where agents come in: what is live goes on answering, and a rerun ends as if nothing had been.

The other states are those of test_switch_matrix.py.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster.lane import AGENT_IMAGE, MODEL, release
from tests.cluster.load import Load
from tests.cluster.switching import Case, lane_in, run_case

pytestmark = [pytest.mark.needs("pods")]
STATES = ("rollout.agent_applied", "rollout.stopping")
RATE = 100
ENOUGH = 1000


@pytest.fixture(scope="module")
def killed(real: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Case]]]:
    """What each will have come to, a lane for each, all at once."""
    real.import_image(AGENT_IMAGE.write(tmp_path_factory.mktemp("agent") / "agent.tar"))
    with ThreadPoolExecutor(len(STATES)) as at_once:
        yield {state: at_once.submit(_kill_at, real, state) for state in STATES}


def _kill_at(cluster: Any, state: str) -> Case:
    old, new = release("a"), release("b")
    with lane_in(cluster, f"test-{uuid.uuid4().hex[:8]}", agents=True) as lane:
        lane.roll_out(old)
        with Load(lane.url, MODEL, RATE) as load:
            return run_case(lane, load, (old, new), state, ENOUGH)


@pytest.mark.parametrize("state", STATES)
def test_killed_with_agents_the_live_release_goes_on_and_a_rerun_converges(killed, state):
    case = killed[state].result()

    assert case.killed == -signal.SIGKILL
    assert case.rerun == 0
    assert case.state == case.wanted
    assert case.seen.causes == {}
    assert case.seen.sent.total() >= ENOUGH
