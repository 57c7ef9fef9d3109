"""Baseline published values, and against the definitions computed another way."""

from fractions import Fraction
from itertools import product

import pytest

from genai_pipeline.evaluation.statistics import mcnemar_worse, wilson


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [  # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_wilson_gives_the_published_intervals(successes: int, total: int, low: float, high: float):
    found = wilson(successes, total)

    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_wilson_holds_the_rate_and_narrows_with_more_cases():
    for total in (1, 2, 10, 60, 1000):
        for successes in range(0, total + 1, max(1, total // 10)):
            found = wilson(successes, total)
            assert 0 <= found.low <= successes / total <= found.high <= 1
    assert wilson(540, 600).low > wilson(54, 60).low
    assert wilson(54, 60, 0.99).low < wilson(54, 60, 0.95).low


@pytest.mark.parametrize(("successes", "total"), [(0, 0), (2, 1), (-1, 4)])
def test_what_is_no_rate_has_no_interval(successes: int, total: int):
    with pytest.raises(ValueError, match="is not a rate"):
        wilson(successes, total)


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [  # tails of the binomial distribution with p = 1/2, as in any table of the sign test
        (0, 0, 1.0),
        (4, 0, 0.0625),
        (5, 0, 0.03125),
        (0, 5, 1.0),
        (7, 1, 0.03515625),
        (6, 1, 0.0625),
        (9, 3, 0.072998046875),
        (10, 3, 0.046142578125),
        (15, 5, 0.020694732666015625),
    ],
)
def test_mcnemar_gives_the_tail_of_the_sign_test(lost: int, gained: int, p: float):
    assert mcnemar_worse(lost, gained) == p


def test_mcnemar_is_the_share_of_coin_tosses_that_are_as_bad():
    for pairs in range(11):
        tosses = [sum(toss) for toss in product((0, 1), repeat=pairs)]
        for lost in range(pairs + 1):
            share = Fraction(sum(heads >= lost for heads in tosses), len(tosses))
            assert Fraction(mcnemar_worse(lost, pairs - lost)) == share


def test_mcnemar_stays_exact_where_floats_would_overflow():
    assert 0 < mcnemar_worse(2_000, 1_900) < 0.1
    assert mcnemar_worse(1_000, 0) > 0
