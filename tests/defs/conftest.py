"""The whole graph in one process, over an in-memory world."""

import pytest

from tests.defs.desk import Desk
from tests.defs.instances import empty_instance
from tests.fakes.measuring import replace_engines
from tests.fakes.world import World


@pytest.fixture
def desk(monkeypatch):
    with empty_instance() as instance:
        desk = Desk(World(), instance=instance)
        replace_engines(monkeypatch.setattr, desk.verdicts, desk.world.watch_traffic)
        monkeypatch.setattr("time.sleep", lambda _: None)
        yield desk
