from collections.abc import Mapping

import pytest

from tests.faults.exactly_once.cases import ALL, FEW, Install, every_case

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize("cases", [pytest.param(FEW, id="few", marks=pytest.mark.long), *ALL])
def test_there_is_one_run_per_release_whatever_dies(
    postgres: Mapping[str, object], installed: Install, cases: list[tuple[str, str]]
) -> None:
    every_case(installed(len(cases), postgres), cases)
