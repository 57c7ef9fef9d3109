from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.errors import EngineUnavailable, Refused
from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading
from genai_pipeline.loadtest.measurement import Measurement
from genai_pipeline.loadtest.sampler import GaugeSample
from genai_pipeline.loadtest.serving_verdicts import judge_measurement, nothing_measured
from genai_pipeline.loadtest.summary import Observation
from tests.unit.loadtest.conftest import PROMPT, REQUESTS, TOKENS, observation, reading

Make = Callable[..., Measurement]
PASSED, FAILED, INCONCLUSIVE = Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE


def not_passed(m: Measurement, gates: ServingGates) -> dict[str, Outcome]:
    return {v.check: v.outcome for v in judge_measurement(m, gates) if not v.passed}


def summary_of(check: str, m: Measurement, gates: ServingGates) -> str:
    return next(v.summary for v in judge_measurement(m, gates) if v.check == check)


def test_a_healthy_measurement_passes_every_check_in_the_order_of_the_list(measured: Make, gates: ServingGates):
    verdicts = judge_measurement(measured(), gates)

    assert [v.check for v in verdicts] == list(CHECKS["serving_report"])
    assert {v.outcome for v in verdicts} == {PASSED}


def test_late_first_tokens_fail_ttft_alone(measured: Make, gates: ServingGates):
    late = [observation(n, ttft_s=0.24) for n in range(REQUESTS)]

    m = measured(observations=late)

    assert not_passed(m, gates) == {"ttft_p95": FAILED}
    assert "240 ms" in summary_of("ttft_p95", m, gates)
    assert "200 ms" in summary_of("ttft_p95", m, gates)


def test_one_late_answer_in_twenty_is_within_a_p95_gate_and_two_are_not(measured: Make, gates: ServingGates):
    def with_late(count: int) -> Measurement:
        late = dict.fromkeys(range(count), 0.24)
        return measured(observations=[observation(n, ttft_s=late.get(n, 0.1)) for n in range(REQUESTS)])

    assert not_passed(with_late(REQUESTS // 20), gates) == {}
    assert not_passed(with_late(REQUESTS // 20 + 1), gates) == {"ttft_p95": FAILED}


def test_too_few_tokens_per_second_fail_that_check_alone(measured: Make, gates: ServingGates):
    m = measured()
    rate = m.summary.tokens_per_s

    assert not_passed(m, gates.model_copy(update={"min_tokens_per_s": rate + 1})) == {"tokens_per_second": FAILED}
    assert not_passed(m, gates.model_copy(update={"min_tokens_per_s": rate})) == {}


def test_one_error_fails_a_gate_of_zero_and_names_its_cause(measured: Make, gates: ServingGates):
    broken = observation(3, error="HTTP 500: out of memory", completion_tokens=0, prompt_tokens=0, ttft_s=None)
    m = measured(observations=[broken, *(observation(n) for n in range(REQUESTS - 1))], after=reading(6 + REQUESTS))

    assert not_passed(m, gates) == {"error_rate": FAILED}
    assert "out of memory" in summary_of("error_rate", m, gates)
    assert not_passed(m, gates.model_copy(update={"error_rate_max": 0.05})) == {}


def test_errors_below_the_gated_concurrency_count_too(measured: Make, gates: ServingGates):
    alone = observation(99, concurrency=1, error="connection: reset", completion_tokens=0)

    m = measured(observations=[*(observation(n) for n in range(REQUESTS)), alone])

    assert not_passed(m, gates) == {"error_rate": FAILED}


def test_too_few_answers_leave_time_and_throughput_inconclusive(measured: Make, gates: ServingGates):
    m = measured(observations=[observation(n) for n in range(19)], after=reading(7 + 19))

    assert not_passed(m, gates) == {
        "ttft_p95": INCONCLUSIVE, "latency_p95": INCONCLUSIVE, "tokens_per_second": INCONCLUSIVE, "cost": INCONCLUSIVE,
    }  # fmt: skip


@pytest.mark.parametrize("peak", [0.85, 1.0])
def test_one_sample_of_a_full_cache_fails_kv_cache_alone(measured: Make, gates: ServingGates, peak: float):
    samples = [*(GaugeSample(n * 0.25, 0.3, 4, 0) for n in range(8)), GaugeSample(2.0, peak, 4, 0)]

    assert not_passed(measured(samples=samples), gates) == {"kv_cache": FAILED}


def test_one_sample_of_a_long_queue_fails_queue_alone(measured: Make, gates: ServingGates):
    samples = [*(GaugeSample(n * 0.25, 0.3, 4, 29) for n in range(8)), GaugeSample(2.0, 0.3, 4, 30)]

    assert not_passed(measured(samples=samples[:-1]), gates) == {}
    assert not_passed(measured(samples=samples), gates) == {"queue": FAILED}


def test_a_load_without_samples_says_nothing_about_cache_and_queue(measured: Make, gates: ServingGates):
    m = measured(samples=[GaugeSample(0, 0.0, 1, 0)] * 2, metrics_error="HTTP 503")

    assert not_passed(m, gates) == {"kv_cache": INCONCLUSIVE, "queue": INCONCLUSIVE}
    assert "HTTP 503" in summary_of("kv_cache", m, gates)


def test_unreadable_counters_leave_the_engines_account_inconclusive(measured: Make, gates: ServingGates):
    m = measured(after=None, metrics_error="lacks vllm:prompt_tokens_total")

    assert not_passed(m, gates) == {"engine_agrees": INCONCLUSIVE}
    assert "prompt_tokens_total" in summary_of("engine_agrees", m, gates)


DISAGREE = dict.fromkeys(("ttft_p95", "latency_p95", "tokens_per_second", "engine_agrees", "cost"), INCONCLUSIVE)


@pytest.mark.parametrize(
    "lie",
    [
        {"requests_finished": 7.0},
        {"requests_finished": 7.0 + REQUESTS + 2},
        {"generation_tokens": 10.0 * (7 + REQUESTS) * TOKENS},
        {"generation_tokens": (7 + REQUESTS) * TOKENS * 0.9},
        {"prompt_tokens": (7 + REQUESTS) * PROMPT * 2.0},
        {"ttft_buckets": {0.08: 0.0, 0.25: 7.0, 0.5: 7.0, math.inf: 7.0}},
        {"ttft_buckets": {0.08: 0.0, 0.25: 7.0, 0.5: 7.0, math.inf: 7.0 + REQUESTS}},
        {"ttft_buckets": {0.08: 0.0, 0.25: 14.0, 0.5: 14.0, math.inf: 14.0}},
    ],
    ids=[
        "stood still",
        "more requests",
        "ten times",
        "fewer tokens",
        "other prompts",
        "no TTFT",
        "slower than we saw",
        "TTFT of a few",
    ],
)
def test_an_engine_that_tells_another_story_makes_its_figures_inconclusive(
    measured: Make, gates: ServingGates, lie: dict[str, object]
):
    m = measured(after=reading(7 + REQUESTS, **lie))

    assert not_passed(m, gates) == DISAGREE


@pytest.fixture
def seen_late(measured: Make) -> Measurement:
    """Every first token within a millisecond by the engine's clock, and after 500 ms by ours."""
    fast = {0.001: float(REQUESTS), 0.25: float(REQUESTS), math.inf: float(REQUESTS)}
    return measured(
        observations=[observation(n, ttft_s=0.5) for n in range(REQUESTS)],
        before=reading(0, ttft_buckets={}),
        after=reading(REQUESTS, ttft_buckets=fast),
    )


def test_a_client_too_slow_to_see_tokens_in_time_does_not_fail_the_engine(seen_late: Measurement, gates: ServingGates):
    assert not_passed(seen_late, gates) == {"ttft_p95": INCONCLUSIVE}
    assert "client or the network is slow" in summary_of("ttft_p95", seen_late, gates)

    hard = gates.model_copy(update={"min_tokens_per_s": 1e6})
    assert not_passed(seen_late, hard) == {"ttft_p95": INCONCLUSIVE, "tokens_per_second": INCONCLUSIVE}


def test_what_even_a_slow_client_saw_in_time_was_in_time(seen_late: Measurement, gates: ServingGates):
    assert not_passed(seen_late, gates.model_copy(update={"ttft_p95_ms": 600.0})) == {}


def test_a_stray_request_of_someone_else_is_tolerated(measured: Make, gates: ServingGates):
    assert not_passed(measured(after=reading(7 + REQUESTS + 1)), gates) == {}


def test_requests_that_failed_for_us_may_have_been_finished_by_the_engine(measured: Make, gates: ServingGates):
    lost = [observation(n, error="no whole answer within 1 s", completion_tokens=0) for n in range(3)]
    m = measured(observations=[*lost, *(observation(n) for n in range(3, REQUESTS))])

    assert not_passed(m, gates) == {"error_rate": FAILED}


HEALTHY_GPU = GpuReading("GPU-1", 0, 0, 0, 55.0)


def test_without_a_gpu_its_health_is_not_applicable(measured: Make, gates: ServingGates):
    assert summary_of("gpu_health", measured(), gates).startswith("no NVIDIA GPU: not applicable")


def test_healthy_gpus_pass(measured: Make, gates: ServingGates):
    assert not_passed(measured(has_gpu=True, gpus=[HEALTHY_GPU]), gates) == {}


def gpus(xid: int = 0, **fault: int) -> list[GpuReading]:
    return [HEALTHY_GPU, replace(HEALTHY_GPU, gpu="GPU-2", xid_error=xid, **fault)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (gpus(), gpus(xid=79)),
        (gpus(xid=31), gpus(xid=48)),
        (gpus(xid=48), gpus(xid=79)),
        (gpus(), gpus(xid=62)),
        (gpus(), gpus(xid=140)),
        (gpus(), gpus(xid=149)),
        (gpus(), gpus(double_bit_errors=1)),
        (gpus(), gpus(row_remap_failures=1)),
    ],
)
def test_a_gpu_that_fails_under_load_fails_gpu_health_alone(
    measured: Make, gates: ServingGates, before: list[GpuReading], after: list[GpuReading]
):
    m = measured(has_gpu=True, gpus_before=before, gpus=after)

    assert not_passed(m, gates) == {"gpu_health": FAILED}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(gpus(xid=79), gpus(xid=79), id="a hardware error from before the load"),
        pytest.param(gpus(), gpus(xid=31), id="an error of a program"),
        pytest.param(gpus(), gpus(xid=13), id="an exception of a kernel"),
        pytest.param(gpus(), gpus(xid=43), id="a program that was stopped"),
        pytest.param(gpus(), gpus(xid=45), id="the end of a program"),
        pytest.param(None, gpus(xid=31), id="an error of a program, nothing read before"),
    ],
)
def test_an_xid_that_is_old_or_a_programs_is_reported_and_passes(
    measured: Make, gates: ServingGates, before: list[GpuReading] | None, after: list[GpuReading]
):
    m = measured(has_gpu=True, gpus_before=before, gpus=after)

    assert not_passed(m, gates) == {}
    assert f"Xid {after[1].xid_error}" in summary_of("gpu_health", m, gates)


def test_a_count_of_memory_errors_that_is_not_exported_is_inconclusive(measured: Make, gates: ServingGates):
    uncounted = [HEALTHY_GPU, replace(HEALTHY_GPU, gpu="GPU-2", double_bit_errors=None)]
    m = measured(has_gpu=True, gpus_before=gpus(), gpus=uncounted)

    assert not_passed(m, gates) == {"gpu_health": INCONCLUSIVE}
    assert "GPU-2: " in summary_of("gpu_health", m, gates)


def test_a_gpu_that_fails_counts_more_than_one_whose_errors_are_not_counted(measured: Make, gates: ServingGates):
    uncounted = [replace(HEALTHY_GPU, double_bit_errors=None), *gpus(row_remap_failures=1)]

    assert not_passed(measured(has_gpu=True, gpus_before=gpus(), gpus=uncounted), gates) == {"gpu_health": FAILED}


@pytest.mark.parametrize("before", [None, [HEALTHY_GPU]])
def test_a_hardware_xid_without_a_reading_from_before_is_inconclusive(
    measured: Make, gates: ServingGates, before: list[GpuReading] | None
):
    m = measured(has_gpu=True, gpus_before=before, gpus=gpus(xid=79))

    assert not_passed(m, gates) == {"gpu_health": INCONCLUSIVE}


def test_a_sample_that_cannot_be_true_leaves_the_peaks_unknown(measured: Make, gates: ServingGates):
    m = measured(not_measured="vllm:kv_cache_usage_perc is nan")

    assert not_passed(m, gates) == {"kv_cache": INCONCLUSIVE, "queue": INCONCLUSIVE}


def test_a_power_cap_is_said_and_passes(measured: Make, gates: ServingGates):
    capped = [replace(HEALTHY_GPU, at=float(at), clock_reasons=0x4) for at in range(3)]
    m = measured(has_gpu=True, gpus_before=gpus(), gpus=[HEALTHY_GPU], gpu_readings=capped)

    assert not_passed(m, gates) == {}
    assert "(reason 4, sw_power_cap) in 3 of 3 readings" in summary_of("gpu_health", m, gates)


def test_a_gate_that_was_missed_on_a_hot_gpu_proves_nothing(measured: Make, gates: ServingGates):
    hot = [replace(HEALTHY_GPU, at=float(at), clock_reasons=0x20) for at in range(3)]
    m = measured(has_gpu=True, gpus_before=gpus(), gpus=[HEALTHY_GPU], gpu_readings=hot)
    strict = gates.model_copy(update={"min_tokens_per_s": 1e6, "ttft_p95_ms": 0.001})

    assert not_passed(m, gates) == {}
    assert not_passed(m, strict) == {"ttft_p95": INCONCLUSIVE, "tokens_per_second": INCONCLUSIVE}
    assert not_passed(replace(m, gpu_readings=()), strict) == {"ttft_p95": FAILED, "tokens_per_second": FAILED}
    assert summary_of("gpu_health", m, gates).count("Warning: ") == 1


def test_gpus_that_were_not_read_under_load_are_said_to_be_not_measured(measured: Make, gates: ServingGates):
    m = measured(has_gpu=True, gpus_before=gpus(), gpus=[HEALTHY_GPU])

    assert "Not measured: what the GPUs did" in summary_of("gpu_health", m, gates)


@pytest.mark.parametrize("gpus", [None, []])
def test_gpus_that_cannot_be_asked_are_inconclusive(measured: Make, gates: ServingGates, gpus: list[GpuReading] | None):
    m = measured(has_gpu=True, gpus=gpus, gpu_error="no dcgm-exporter")

    assert not_passed(m, gates) == {"gpu_health": INCONCLUSIVE}
    assert "no dcgm-exporter" in summary_of("gpu_health", m, gates)


def test_a_price_above_the_gate_fails_cost_alone(measured: Make, gates: ServingGates):
    m = measured()
    price = 3.6 / (m.summary.tokens_per_s * 3600) * 1e6

    assert not_passed(m, gates.model_copy(update={"usd_per_million_tokens_max": price * 0.99})) == {"cost": FAILED}
    assert not_passed(m, gates.model_copy(update={"usd_per_million_tokens_max": price * 1.01})) == {}


def test_a_price_gate_without_a_price_is_inconclusive(measured: Make, gates: ServingGates):
    assert not_passed(measured(), gates.model_copy(update={"usd_per_hour": 0.0})) == {"cost": INCONCLUSIVE}


def test_a_price_without_a_gate_is_reported(measured: Make, gates: ServingGates):
    ungated = gates.model_copy(update={"usd_per_million_tokens_max": None})

    assert "no gate is set" in summary_of("cost", measured(), ungated)
    assert not_passed(measured(), ungated) == {}


def test_the_time_of_whole_requests_is_judged_where_the_model_file_has_a_gate(measured: Make, gates: ServingGates):
    took_ms = measured().summary.latency.p95 * 1e3

    assert "no gate is set" in summary_of("latency_p95", measured(), gates)
    assert not_passed(measured(), gates.model_copy(update={"latency_p95_ms": took_ms - 1})) == {"latency_p95": FAILED}
    assert not_passed(measured(), gates.model_copy(update={"latency_p95_ms": took_ms})) == {}


POOLING_CHECKS = ["latency_p95", "error_rate", "queue", "engine_agrees", "gpu_health", "cost"]


def pooled(task: Task, number: int, **changes: object) -> Observation:
    """A request that takes 100 ms; its answer has no tokens."""
    observed = observation(number, duration_s=0.1, ttft_s=None, gaps_s=(), completion_tokens=0)
    return replace(observed, **changes)


@pytest.fixture(params=[(Task.EMBED, 1), (Task.SCORE, 1), (Task.SCORE, 2)], ids=["embed", "score", "score apart"])
def pooling(request: pytest.FixtureRequest, measured: Make) -> Make:
    """A healthy measurement of a model that generates nothing, with a full KV cache that says nothing about it.

    The engine counts two requests for a score whose query and document it pools apart.
    """
    task, each = request.param

    def make(**changes: object) -> Measurement:
        def counted(requests: int) -> EngineMetrics:
            read = reading(requests * each, generation_tokens=0.0)
            return replace(read, prompt_tokens=float(requests * PROMPT))

        healthy = {
            "task": task,
            "observations": [pooled(task, n) for n in range(REQUESTS)],
            "before": counted(7),
            "after": counted(7 + REQUESTS),
            "samples": [GaugeSample(n * 0.25, 1.0, 4, 0) for n in range(8)],
        }
        return measured(**(healthy | changes))

    return make


def test_what_generates_nothing_is_not_asked_about_tokens(pooling: Make, gates: ServingGates):
    verdicts = judge_measurement(pooling(), gates)

    assert [v.check for v in verdicts] == POOLING_CHECKS
    assert {v.outcome for v in verdicts} == {PASSED}


def test_a_pooled_request_has_a_gate_even_if_the_model_file_has_none(pooling: Make, gates: ServingGates):
    def slow(m: Measurement, seconds: float) -> Measurement:
        return replace(m, observations=[replace(o, duration_s=seconds) for o in m.observations], before=None)

    assert not_passed(slow(pooling(), 0.79), gates) == {"engine_agrees": INCONCLUSIVE}
    assert not_passed(slow(pooling(), 0.81), gates) == {"latency_p95": FAILED, "engine_agrees": INCONCLUSIVE}
    strict = gates.model_copy(update={"latency_p95_ms": 99.0})
    assert not_passed(pooling(), strict) == {"latency_p95": FAILED}


def test_the_cost_of_what_generates_nothing_is_that_of_prompt_tokens(pooling: Make, gates: ServingGates):
    m = pooling()
    price = 3.6 / (m.summary.prompt_tokens_per_s * 3600) * 1e6

    assert not_passed(m, gates.model_copy(update={"usd_per_million_tokens_max": price * 0.99})) == {"cost": FAILED}
    assert not_passed(m, gates.model_copy(update={"usd_per_million_tokens_max": price * 1.01})) == {}
    assert "prompt tokens" in summary_of("cost", m, gates)


@pytest.mark.parametrize("lie", [{"requests_finished": 7.0}, {"prompt_tokens": 7.0}, {"ttft_buckets": {math.inf: 7.0}}])
def test_the_counters_of_a_pooling_engine_are_compared_too(pooling: Make, gates: ServingGates, lie: dict[str, object]):
    m = pooling()
    assert m.after is not None

    found = not_passed(replace(m, after=replace(m.after, **lie)), gates)

    assert found == dict.fromkeys(("latency_p95", "engine_agrees", "cost"), INCONCLUSIVE)


def test_a_load_that_could_not_begin_is_inconclusive_with_its_cause(gates: ServingGates):
    verdicts = nothing_measured(Task.CHAT, gates, True, EngineUnavailable("engine is down"))

    assert [v.check for v in verdicts] == list(CHECKS["serving_report"])
    assert {v.outcome for v in verdicts} == {INCONCLUSIVE}
    assert all("engine is down" in v.summary for v in verdicts)


def test_an_engine_that_refuses_every_request_has_failed(gates: ServingGates):
    verdicts = {v.check: v for v in nothing_measured(Task.CHAT, gates, False, Refused("no such model"))}

    assert verdicts["error_rate"].outcome is FAILED
    assert verdicts["ttft_p95"].outcome is INCONCLUSIVE


@given(
    st.integers(0, 60), st.floats(0, 3), st.floats(0, 3), st.integers(0, 60), st.booleans(), st.integers(0, 5)
)  # fmt: skip
def test_nothing_is_passed_that_was_not_measured(
    answered: int, ttft: float, tokens: float, finished: int, readable: bool, samples: int
):
    gates = ServingGates(at_concurrency=4, requests=40, ttft_p95_ms=200, min_tokens_per_s=1)
    m = Measurement(
        4,
        [observation(n, ttft_s=ttft, completion_tokens=int(tokens * TOKENS)) for n in range(answered)],
        Task.CHAT,
        reading(0),
        reading(finished) if readable else None,
        [GaugeSample(0, 0, 0, 0)] * samples,
    )

    passed = {v.check for v in judge_measurement(m, gates) if v.passed}

    assert readable or "engine_agrees" not in passed
    assert answered >= 20 or not passed & {"ttft_p95", "latency_p95", "tokens_per_second"}
    assert answered or "error_rate" not in passed
    assert samples >= 3 or not passed & {"kv_cache", "queue"}
    assert ttft <= 0.2 or "ttft_p95" not in passed
