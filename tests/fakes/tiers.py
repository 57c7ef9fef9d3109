"""Which cases of a parametrized test run in the short tier, and whether those of the night run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def one_per_class(cases: Iterable[Any], short: Collection[str]) -> list[Any]:
    """Return the cases as parameters: those that `short` names run in `make test`, the others are marked long.

    Raises: AssertionError: `short` names a case that does not exist.
    """
    cases = list(cases)
    unknown = set(short) - {name_of(case) for case in cases}
    assert not unknown, f"no case is called {unknown}"
    return [
        pytest.param(case, id=name_of(case).replace(" ", "_"), marks=() if name_of(case) in short else pytest.mark.long)
        for case in cases
    ]


def name_of(case: Any) -> str:
    return case if isinstance(case, str) else case.name


def nightly_of(request: pytest.FixtureRequest) -> bool:
    """Return whether a nightly test of the requesting file is selected: what no selected test asks only costs time."""
    return any(i.get_closest_marker("nightly") for i in request.session.items if i.path == request.path)
