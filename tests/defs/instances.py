"""Instances of Dagster in memory. To make one takes a tenth of a second, so that each is emptied and used again."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import dagster as dg

_free: list[dg.DagsterInstance] = []


@contextmanager
def empty_instance() -> Iterator[dg.DagsterInstance]:
    """Lend an instance that holds nothing."""
    instance = _free.pop() if _free else dg.DagsterInstance.ephemeral()
    yield instance
    copy_storage(_nothing(), instance)
    _free.append(instance)


@cache
def _nothing() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def copy_storage(source: dg.DagsterInstance, target: dg.DagsterInstance) -> None:
    """Copy runs and events between two instances in memory, each of which is a SQLite."""
    for connect in (lambda i: i.run_storage.connect(), lambda i: i.event_log_storage.index_connection()):
        with connect(source) as origin, connect(target) as copied:
            origin.connection.driver_connection.backup(copied.connection.driver_connection)
