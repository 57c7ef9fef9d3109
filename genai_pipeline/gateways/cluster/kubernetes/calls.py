"""Counts the calls to the API server, so that a rollout's number of them can be shown and held."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping


class Calls:
    """Thread-safe. Every request that is sent counts, a repeated one again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, verb: str, resource: str) -> None:
        with self._lock:
            self._counts[(verb, resource)] += 1

    @property
    def total(self) -> int:
        with self._lock:
            return self._counts.total()

    def by_verb_and_resource(self) -> Mapping[tuple[str, str], int]:
        """(verb, resource) -> requests, in the words of a Role."""
        with self._lock:
            return dict(self._counts)
