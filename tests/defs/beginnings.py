"""States that many tests begin in. Each is reached by real runs once in a process, and copied after that."""

from collections.abc import Callable
from copy import deepcopy

import dagster as dg

from tests.defs.desk import Desk
from tests.defs.instances import copy_storage
from tests.defs.upkeep_desk import publish

WHAT_CHANGES = {
    "hub": ("revisions", "refs"),
    "store": ("objects", "etags", "modified", "calls", "body_bytes_received"),
    "cluster": ("objects", "log"),
}
_reached: dict[object, "State"] = {}


class State:
    """A copy of all that is behind a desk: the hub, the bucket, the cluster, and what Dagster stored."""

    def __init__(self, desk: Desk) -> None:
        self.world = {
            part: {name: deepcopy(getattr(getattr(desk.world, part), name)) for name in names}
            for part, names in WHAT_CHANGES.items()
        }
        self.instance = dg.DagsterInstance.ephemeral()
        copy_storage(desk.instance, self.instance)

    def give(self, desk: Desk) -> None:
        """Put the desk into this state."""
        for part, values in self.world.items():
            vars(getattr(desk.world, part)).update(deepcopy(values))
        copy_storage(self.instance, desk.instance)


def begin_from(desk: Desk, state: object, reach: Callable[[Desk], None]) -> None:
    """Put a new desk into `state`, a name for what `reach` leads to."""
    assert not desk.world.hub.revisions, "A desk that was used has a state of its own."
    key = (state, repr(desk.spec), repr(desk.engines.profile))
    if key in _reached:
        _reached[key].give(desk)
    else:
        reach(desk)
        _reached[key] = State(desk)


def begin_with(desk: Desk, *contents: str) -> None:
    """Begin where these went live, one after the other."""

    def reach(desk: Desk) -> None:
        *before, last = contents
        if before:
            begin_with(desk, *before)
        publish(desk, last)

    begin_from(desk, contents, reach)


def begin_proven(desk: Desk) -> None:
    """Begin where v1 is proven and waits for its approval, by a model file that asks for one."""

    def reach(desk: Desk) -> None:
        desk.world.hub.publish("v1")
        assert desk.prove().success
        desk.tick()

    begin_from(desk, "proven", reach)
