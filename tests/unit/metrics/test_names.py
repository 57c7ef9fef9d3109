from __future__ import annotations

import math

import pytest

from genai_pipeline.core.errors import EngineUnavailable, NotMeasured
from genai_pipeline.gateways.metrics.names import ALL, KV_CACHE, TTFT_BUCKET, Sample, metrics_from


def samples(prefix: str = "vllm:", value: float = 2.0) -> list[Sample]:
    """One sample of everything; the histogram has two buckets."""
    plain: list[Sample] = [
        (prefix + name, {}, 0.5 if name == KV_CACHE else value) for name in ALL if name != TTFT_BUCKET
    ]
    buckets: list[Sample] = [(prefix + TTFT_BUCKET, {"le": le}, value) for le in ("0.5", "+Inf")]
    return plain + buckets


@pytest.mark.parametrize("prefix", ["vllm:", "ray_vllm_"])
def test_vllms_names_and_rays_are_both_understood(prefix: str):
    reading = metrics_from(samples(prefix), "here")

    assert reading.generation_tokens == 2.0
    assert reading.ttft_buckets == {0.5: 2.0, math.inf: 2.0}


def test_replicas_are_summed_and_the_fullest_cache_counts():
    one, other = samples(value=1.0), samples(value=3.0)
    full: Sample = ("vllm:" + KV_CACHE, {"engine": "1"}, 0.9)
    empty: Sample = ("vllm:" + KV_CACHE, {"engine": "0"}, 0.1)

    reading = metrics_from([s for s in one + other if KV_CACHE not in s[0]] + [full, empty], "here")

    assert reading.requests_finished == 4.0
    assert reading.waiting == 4.0
    assert reading.kv_cache_usage == 0.9
    assert reading.ttft_buckets[math.inf] == 4.0


def test_rays_second_series_without_total_does_not_count_twice():
    deprecated: list[Sample] = [("ray_vllm_prompt_tokens", {}, 2.0), ("ray_vllm_request_success", {}, 2.0)]

    assert metrics_from(samples("ray_vllm_") + deprecated, "here") == metrics_from(samples("ray_vllm_"), "here")


def test_the_reasons_of_finished_requests_are_summed():
    more: list[Sample] = [("vllm:request_success_total", {"finished_reason": "abort"}, 5.0)]

    assert metrics_from(samples() + more, "here").requests_finished == 7.0


@pytest.mark.parametrize("name", ALL)
def test_a_missing_name_is_named(name: str):
    without = [s for s in samples() if s[0] != "vllm:" + name]

    with pytest.raises(EngineUnavailable, match=f"here lacks vllm:{name}"):
        metrics_from(without, "here")


def test_the_names_of_an_old_vllm_are_not_taken_for_the_new_ones():
    old = [s for s in samples() if KV_CACHE not in s[0]] + [("vllm:gpu_cache_usage_perc", {}, 0.5)]

    with pytest.raises(EngineUnavailable, match=KV_CACHE):
        metrics_from(old, "here")


def test_answers_are_counted_by_status_and_only_those_that_users_ask_for():
    counted: list[Sample] = [
        ("http_requests_total", {"handler": "/v1/chat/completions", "status": "2xx"}, 5.0),
        ("http_requests_total", {"handler": "/v1/completions", "status": "2xx"}, 2.0),
        ("http_requests_total", {"handler": "/v1/chat/completions", "status": "5xx"}, 1.0),
        ("http_requests_total", {"handler": "/v1/models", "status": "2xx"}, 100.0),
        ("http_requests_total", {"handler": "/metrics", "status": "2xx"}, 100.0),
        ("http_requests_total", {"handler": "/drain", "status": "2xx"}, 100.0),
    ]

    assert metrics_from(samples() + counted, "here").responses == {"2xx": 7.0, "5xx": 1.0}


@pytest.mark.parametrize(
    "handler", ["/v1/embeddings", "/v2/embed", "/v1/score", "/score", "/v1/rerank", "/v2/rerank", "/rerank", "/pooling"]
)
def test_answers_of_models_that_pool_are_what_users_ask_for(handler: str):
    counted: list[Sample] = [("http_requests_total", {"handler": handler, "status": "2xx"}, 3.0)]

    assert metrics_from(samples() + counted, "here").responses == {"2xx": 3.0}


def test_an_engine_that_counts_no_answers_says_so_by_none():
    assert metrics_from(samples(), "here").responses is None


def test_the_time_between_tokens_and_the_youngest_start_are_read_where_they_are_exported():
    more: list[Sample] = [("vllm:inter_token_latency_seconds_bucket", {"le": le}, 3.0) for le in ("0.1", "+Inf")]
    more += [("process_start_time_seconds", {}, 5.0), ("process_start_time_seconds", {}, 9.0)]

    reading = metrics_from(samples() + more, "here")

    assert reading.inter_token_buckets == {0.1: 3.0, math.inf: 3.0}
    assert reading.started_at == 9.0
    assert metrics_from(samples(), "here").started_at is None


@pytest.mark.parametrize("value", [math.nan, -1.0, math.inf])
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("first", [True, False])
def test_a_value_that_cannot_be_true_is_no_reading_whatever_stands_beside_it(name: str, value: float, first: bool):
    wrong: Sample = ("vllm:" + name, {"engine": "1", "le": "0.5"}, value)
    given = [wrong, *samples()] if first else [*samples(), wrong]

    with pytest.raises(NotMeasured, match=f"here: vllm:{name} is {value}"):
        metrics_from(given, "here")


def test_a_share_above_one_is_no_reading():
    for value in (1.5, 97.0):
        with pytest.raises(NotMeasured, match=KV_CACHE):
            metrics_from([*samples(), ("vllm:" + KV_CACHE, {}, value)], "here")
    assert metrics_from([*samples(), ("vllm:" + KV_CACHE, {}, 1.0000001)], "here").kv_cache_usage > 1


def test_figures_that_ray_has_not_exported_yet_are_idle_where_its_counters_are_there():
    first: list[Sample] = [("ray_vllm_prompt_tokens_total", {}, 7.0)]
    first += [("ray_vllm_" + TTFT_BUCKET, {"le": le}, 1.0) for le in ("0.5", "+Inf")]

    reading = metrics_from(first, "here")

    assert (reading.running, reading.waiting, reading.kv_cache_usage, reading.generation_tokens) == (0, 0, 0, 0)
    assert (reading.prompt_tokens, reading.ttft_buckets[math.inf]) == (7.0, 1.0)


@pytest.mark.parametrize("counter", ["prompt_tokens_total", TTFT_BUCKET])
def test_gauges_of_ray_without_its_counters_are_no_reading(counter: str):
    gauges = [s for s in samples("ray_vllm_") if counter not in s[0]]

    with pytest.raises(EngineUnavailable, match=counter):
        metrics_from(gauges, "here")


def test_answers_of_serves_proxies_are_counted_by_class_of_their_status_and_not_its_errors_again():
    name = "ray_serve_num_http_requests_total"
    counted: list[Sample] = [
        (name, {"route": "/v1/chat/completions", "status_code": "200"}, 5.0),
        (name, {"route": "/v1/completions", "status_code": "503"}, 2.0),
        (name, {"route": "/v1/completions", "status_code": "499"}, 1.0),
        (name, {"route": "/-/healthz", "status_code": "200"}, 100.0),
        (name, {"route": "/metrics", "status_code": "200"}, 100.0),
        ("ray_serve_num_http_error_requests_total", {"route": "/v1/completions", "error_code": "503"}, 2.0),
        ("ray_serve_num_deployment_http_error_requests_total", {"route": "/v1/completions", "error_code": "503"}, 2.0),
    ]

    assert metrics_from(samples("ray_vllm_") + counted, "here").responses == {"2xx": 5.0, "5xx": 2.0, "4xx": 1.0}
