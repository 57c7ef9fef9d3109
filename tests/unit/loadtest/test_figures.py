from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.core.errors import NotEnoughData
from genai_pipeline.core.quantiles import histogram_quantile, increase, quantile, quantile_bounds, total
from genai_pipeline.loadtest.arrivals import plan_steps
from genai_pipeline.loadtest.prompts import prompt
from genai_pipeline.loadtest.serving_verdicts import usd_per_million_tokens
from genai_pipeline.loadtest.summary import MIN_OBSERVATIONS, summarise
from tests.unit.loadtest.conftest import observation

times = st.floats(0, 100, allow_nan=False)
fractions = st.floats(0.01, 0.99)
BOUNDS = (0.01, 0.1, 1.0, 10.0, math.inf)


def histogram(values: list[float]) -> dict[float, float]:
    return {bound: float(sum(v <= bound for v in values)) for bound in BOUNDS}


@given(st.lists(times, min_size=1), fractions)
def test_a_histograms_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], q: float):
    low, high = quantile_bounds(histogram(values), q)

    assert low <= quantile(values, q) <= high
    assert low <= histogram_quantile(histogram(values), q) <= high


@pytest.mark.parametrize(
    ("buckets", "q", "expected"),
    [
        ({1.0: 10.0, 2.0: 20.0, math.inf: 20.0}, 0.5, 1.0),
        ({1.0: 10.0, 2.0: 20.0, math.inf: 20.0}, 0.75, 1.5),
        ({1.0: 10.0, 2.0: 20.0, math.inf: 20.0}, 0.25, 0.5),
        ({1.0: 0.0, 2.0: 4.0, math.inf: 8.0}, 0.9, 2.0),
    ],
)
def test_a_histograms_quantile_is_the_one_that_promql_gives(buckets: dict[float, float], q: float, expected: float):
    assert histogram_quantile(buckets, q) == pytest.approx(expected)


@pytest.mark.parametrize("empty", [{}, {1.0: 0.0, math.inf: 0.0}])
def test_an_empty_histogram_has_no_quantile(empty: dict[float, float]):
    with pytest.raises(NotEnoughData):
        histogram_quantile(empty, 0.95)


@given(st.lists(times), st.lists(times))
def test_what_was_observed_in_between_is_the_difference(before: list[float], later: list[float]):
    assert increase(histogram(before), histogram(before + later)) == histogram(later)


def test_after_a_restart_everything_counted_is_new():
    assert total(increase(histogram([0.5] * 9), histogram([0.5] * 4))) == 4


@given(st.lists(st.booleans(), max_size=60))
def test_a_summary_counts_every_request_once(answers: list[bool]):
    observations = [observation(n, error="" if ok else "HTTP 500") for n, ok in enumerate(answers)]

    summary = summarise(observations)

    assert summary.requests == len(answers)
    assert summary.answered == sum(answers)
    assert sum(summary.errors.values()) == len(answers) - sum(answers)
    assert summary.completion_tokens == 50 * sum(answers)
    assert (summary.ttft is None) == (sum(answers) < 20)


def test_tokens_per_second_are_over_the_time_from_the_first_start_to_the_last_end():
    summary = summarise([observation(0, started_s=2.0, duration_s=1.0), observation(1, started_s=4.0, duration_s=3.0)])

    assert summary.wall_s == pytest.approx(5.0)
    assert summary.tokens_per_s == pytest.approx(100 / 5.0)


def test_the_time_of_failed_requests_counts_but_their_tokens_do_not():
    failed = observation(1, started_s=0.0, duration_s=10.0, error="HTTP 500", completion_tokens=7)

    assert summarise([observation(0, started_s=0.0), failed]).tokens_per_s == pytest.approx(5.0)


def test_the_price_of_tokens_is_the_hours_price_over_an_hours_tokens():
    assert usd_per_million_tokens(3.6, 1000) == pytest.approx(1.0)


def test_no_tokens_have_no_price():
    with pytest.raises(ValueError, match="no price"):
        usd_per_million_tokens(1.0, 0.0)


@given(st.integers(1, 500), st.integers(1, 300))
def test_steps_stay_within_the_budget_and_end_at_the_gated_concurrency(requests: int, concurrency: int):
    steps = plan_steps(requests, concurrency)

    on_the_way = sum(step.requests for step in steps[:-1])
    assert on_the_way <= requests // 3
    assert steps[-1].requests == max(requests - on_the_way, MIN_OBSERVATIONS)
    assert steps[-1].concurrency == concurrency
    assert steps[-1].requests >= requests * 2 // 3
    assert [s.concurrency for s in steps] == sorted({s.concurrency for s in steps})


@pytest.mark.parametrize("requests", [1, 8, 20, 24])
def test_however_few_are_asked_for_the_gated_step_can_be_judged(requests):
    step = plan_steps(requests, 4)[-1]

    figures = summarise([observation(number, started_s=0.0) for number in range(step.requests)])
    assert figures.ttft is not None


def test_the_demo_models_budget_is_spent_mostly_at_its_gate():
    assert [(s.concurrency, s.requests) for s in plan_steps(32, 4)] == [(1, 3), (2, 3), (4, 26)]


def test_prompts_differ_from_their_first_word_and_in_length():
    prompts = [prompt(n) for n in range(-8, 200)]

    assert len({p.split()[0] for p in prompts}) == len(prompts)
    assert statistics.pstdev(len(p.split()) for p in prompts) > 10
