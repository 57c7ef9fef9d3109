import pytest

from tests.faults.exactly_once.cases import ALL, SOME, TWO, Install, every_case

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(TWO, id="two", marks=pytest.mark.long),
        pytest.param(SOME, id="some", marks=pytest.mark.nightly),
        *ALL,
    ],
)
def test_there_is_one_run_per_release_whatever_dies(installed: Install, cases: list[tuple[str, str]]) -> None:
    every_case(installed(len(cases)), cases)
