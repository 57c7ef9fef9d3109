import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.core.errors import NotEnoughData
from genai_pipeline.core.quantiles import quantile

times = st.floats(0, 100, allow_nan=False)
fractions = st.floats(0.01, 0.99)


@given(st.lists(times, min_size=1), fractions)
def test_a_quantile_is_an_observed_value_that_enough_values_do_not_exceed(values: list[float], q: float):
    found = quantile(values, q)

    assert found in values
    assert sum(v <= found for v in values) >= q * len(values)
    assert sum(v < found for v in values) < q * len(values)


@given(st.lists(times, min_size=1), fractions, fractions)
def test_quantiles_do_not_fall_as_q_grows(values: list[float], one: float, other: float):
    low, high = sorted((one, other))

    assert quantile(values, low) <= quantile(values, high)


@pytest.mark.parametrize(("values", "expected"), [([float(n) for n in range(1, 21)], 19.0), ([3.0], 3.0)])
def test_the_95th_percentile_is_the_nearest_rank(values: list[float], expected: float):
    assert quantile(values, 0.95) == expected


def test_a_quantile_without_values_is_not_enough_data():
    with pytest.raises(NotEnoughData):
        quantile([], 0.95)
