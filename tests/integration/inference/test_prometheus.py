"""The same readings through Prometheus: a fake of its HTTP API, and the real one where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from genai_pipeline.core.errors import AccessDenied, EngineUnavailable
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.gateways.metrics.names import ALL, KV_CACHE, TTFT_BUCKET
from genai_pipeline.gateways.metrics.prometheus import RAY_LAG_S, PrometheusMetrics
from genai_pipeline.gateways.metrics.sigv4 import SigV4
from genai_pipeline.local.ports import free_port
from tests.fakes.openai_server import FakeEngine
from tests.integration.inference.fake_prometheus import FakePrometheus, Series

SERVICE = "m-0123456789ab-c0ffee"
ADDRESS = f"http://{SERVICE}.genai.svc:8000"
INTERVAL_S = 15


def replica(pod: str, value: float, service: str = SERVICE) -> list[Series]:
    labels = {"namespace": "genai", "service": service, "pod": pod}
    plain = [
        ({"__name__": f"vllm:{name}", **labels}, 0.5 if name == KV_CACHE else value)
        for name in ALL
        if name != TTFT_BUCKET
    ]
    bucket = {"__name__": f"vllm:{TTFT_BUCKET}", **labels}
    return plain + [(bucket | {"le": le}, value) for le in ("0.5", "+Inf")]


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with FakePrometheus() as fake:
        yield fake


def metrics_of(fake: FakePrometheus, scraped: list[Series] | None = None, every: int = INTERVAL_S) -> PrometheusMetrics:
    """The gateway, whose every pause winds the clock by a second; a scrape comes each `every` seconds."""

    def pause(seconds: float) -> None:
        fake.now += 1
        if scraped is not None and fake.now % every == 0:
            fake.scrape(scraped)

    return PrometheusMetrics(fake.url, fresh_within_s=60, pause=pause)


def test_replicas_are_summed_and_other_releases_left_out(prometheus: FakePrometheus):
    others = replica("x", 100, service="m-another")
    scraped = replica("a", 0.25) + replica("b", 0.5) + others

    reading = metrics_of(prometheus, scraped).read(ADDRESS)

    assert reading.requests_finished == 0.75
    assert reading.kv_cache_usage == 0.5
    assert reading.ttft_buckets[float("inf")] == 0.75


def test_a_reading_is_never_older_than_the_question(prometheus: FakePrometheus):
    prometheus.scrape(replica("a", 1))

    reading = metrics_of(prometheus, replica("a", 2)).read(ADDRESS)

    assert reading.generation_tokens == 2
    assert prometheus.now > 1000
    asked_at = {at for query, at in prometheus.queries if query.startswith(("sum", "max"))}
    assert asked_at == {f"{prometheus.now:.3f}"}


def on_ray(scraped: list[Series]) -> list[Series]:
    return [(labels | {"__name__": labels["__name__"].replace("vllm:", "ray_vllm_")}, v) for labels, v in scraped]


def test_a_reading_of_an_engine_on_ray_waits_for_its_processes_reports_too(prometheus: FakePrometheus):
    reading = metrics_of(prometheus, on_ray(replica("a", 2)), every=5).read(ADDRESS)

    assert reading.generation_tokens == 2
    assert prometheus.now >= 1000 + RAY_LAG_S


def test_answers_of_rays_proxies_are_counted_by_status(prometheus: FakePrometheus):
    answers = {"__name__": "ray_serve_num_http_requests_total", "route": "/v1/chat/completions"}
    answers |= {"namespace": "genai", "service": SERVICE, "pod": "a"}
    counted = [(answers | {"status_code": code, "WorkerId": code}, 3.0) for code in ("200", "500", "503")]
    prometheus.scrape(on_ray(replica("a", 1)) + counted)

    reading = metrics_of(prometheus).latest(ADDRESS)

    assert reading.responses == {"2xx": 3.0, "5xx": 6.0}
    assert reading.age_s == RAY_LAG_S


def test_the_latest_reading_waits_for_nothing_and_says_how_old_it_is(prometheus: FakePrometheus):
    labels = {"namespace": "genai", "service": SERVICE, "pod": "a"}
    answers = {"__name__": "http_requests_total", "handler": "/v1/chat/completions", **labels}
    counted = [(answers | {"status": status}, value) for status, value in (("2xx", 7.0), ("5xx", 1.0))]
    counted.append((answers | {"handler": "/v1/models", "status": "2xx"}, 99.0))
    prometheus.scrape(replica("a", 1) + counted + [({"__name__": "process_start_time_seconds", **labels}, 5.0)])
    prometheus.now += 40

    reading = metrics_of(prometheus).latest(ADDRESS)

    assert (reading.age_s, reading.generation_tokens, reading.started_at) == (40, 1, 5.0)
    assert reading.responses == {"2xx": 7.0, "5xx": 1.0}
    assert prometheus.now == 1040


def test_the_latest_reading_of_what_was_never_scraped_is_unavailable(prometheus: FakePrometheus):
    prometheus.scrape(replica("a", 1, service="m-another"))

    with pytest.raises(EngineUnavailable, match="has no series"):
        metrics_of(prometheus).latest(ADDRESS)


def test_a_release_that_is_no_longer_scraped_is_unavailable(prometheus: FakePrometheus):
    prometheus.scrape(replica("a", 1))

    with pytest.raises(EngineUnavailable, match="was not scraped for 60 s"):
        metrics_of(prometheus).read(ADDRESS)


def test_a_release_that_is_not_scraped_at_all_is_unavailable(prometheus: FakePrometheus):
    with pytest.raises(EngineUnavailable, match=r"has no series.*ServiceMonitor"):
        metrics_of(prometheus, replica("x", 1, service="m-another")).read(ADDRESS)


def test_what_prometheus_refuses_is_reported_in_its_own_words(prometheus: FakePrometheus):
    prometheus.error = "parse error: unexpected end of input"

    with pytest.raises(EngineUnavailable, match="unexpected end of input"):
        metrics_of(prometheus).read(ADDRESS)


@pytest.mark.parametrize("garbage", [b"<html>", b"[]", b"{}"])
def test_something_else_at_the_address_is_not_taken_for_prometheus(prometheus: FakePrometheus, garbage: bytes):
    prometheus.garbage = garbage

    with pytest.raises(EngineUnavailable, match="GENAI_PROMETHEUS_URL"):
        metrics_of(prometheus).read(ADDRESS)


def gpu(name: str, uuid: str, value: float, pod: str = f"{SERVICE}-7d9-x") -> Series:
    return {"__name__": f"DCGM_FI_DEV_{name}", "UUID": uuid, "exported_pod": pod}, value


def test_the_releases_gpus_come_from_dcgm(prometheus: FakePrometheus):
    mine = [gpu("XID_ERRORS", "GPU-1", 79), gpu("GPU_TEMP", "GPU-1", 61), gpu("XID_ERRORS", "GPU-2", 0)]
    prometheus.scrape([*mine, gpu("XID_ERRORS", "GPU-3", 31, pod="m-another-x")])

    readings = metrics_of(prometheus).gpus(ADDRESS)

    assert [(g.gpu, g.xid_error, g.temperature_c) for g in readings] == [("GPU-1", 79, 61.0), ("GPU-2", 0, None)]


def test_gpus_without_xid_errors_exported_are_unknown_not_healthy(prometheus: FakePrometheus):
    prometheus.scrape([gpu("GPU_TEMP", "GPU-1", 61)])

    with pytest.raises(EngineUnavailable, match="DCGM_FI_DEV_XID_ERRORS"):
        metrics_of(prometheus).gpus(ADDRESS)


def test_a_counter_of_memory_errors_that_is_not_exported_is_not_zero(prometheus: FakePrometheus):
    without = gpu("XID_ERRORS", "GPU-1", 0)
    prometheus.scrape([without, gpu("XID_ERRORS", "GPU-2", 0), gpu("ECC_DBE_VOL_TOTAL", "GPU-2", 0)])

    assert [g.double_bit_errors for g in metrics_of(prometheus).gpus(ADDRESS)] == [None, 0]


@pytest.mark.parametrize("label", ["Hostname", "hostname"])
def test_gpus_without_an_id_are_told_apart_by_their_host(prometheus: FakePrometheus, label: str):
    labels = {"__name__": "DCGM_FI_DEV_XID_ERRORS", "gpu": "0", "exported_pod": f"{SERVICE}-7d9-x"}
    prometheus.scrape([(labels | {label: host}, 0.0) for host in ("ip-10-0-1-7", "ip-10-0-1-8")])

    assert [g.gpu for g in metrics_of(prometheus).gpus(ADDRESS)] == ["ip-10-0-1-7/0", "ip-10-0-1-8/0"]


@pytest.mark.parametrize("prefix", ["vllm:", "vllm_"])
def test_an_engines_names_are_read_with_and_without_the_colon(prometheus: FakePrometheus, prefix: str):
    named = [
        (labels | {"__name__": labels["__name__"].replace("vllm:", prefix)}, value) for labels, value in replica("a", 2)
    ]
    prometheus.scrape(named)

    assert metrics_of(prometheus).latest(ADDRESS).generation_tokens == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"message": "Missing Authentication Token"}', "Missing Authentication Token"),
        (b'{"Message": "User: arn:aws:iam::1:role/x is not authorized"}', "is not authorized"),
        (b"<html>Forbidden by proxy</html>", "Forbidden by proxy"),
        (b"[]", "Said"),
    ],
)
def test_a_refusal_of_amp_is_in_its_words_with_what_the_role_needs(
    prometheus: FakePrometheus, monkeypatch: pytest.MonkeyPatch, body: bytes, said: str
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example-secret")
    prometheus.garbage, prometheus.status = body, 403
    amp = PrometheusMetrics(f"{prometheus.url}/workspaces/ws-123", auth=SigV4("eu-west-1"))

    with pytest.raises(EngineUnavailable) as refused:
        amp.gpus(ADDRESS)

    for part in (said, "403", "aps:QueryMetrics", "ws-123", "eu-west-1"):
        assert part in str(refused.value)


def test_another_prometheus_that_refuses_is_not_taken_for_amp(prometheus: FakePrometheus):
    prometheus.garbage, prometheus.status = b"no", 401

    with pytest.raises(EngineUnavailable) as refused:
        metrics_of(prometheus).gpus(ADDRESS)

    assert "aps:" not in str(refused.value)


def test_requests_to_amp_are_signed_for_its_service(prometheus: FakePrometheus, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example-secret")
    prometheus.scrape([gpu("XID_ERRORS", "GPU-1", 0)])

    PrometheusMetrics(prometheus.url, auth=SigV4("eu-west-1")).gpus(ADDRESS)

    signature = prometheus.headers[0]["Authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/aps/aws4_request" in signature
    assert "example-secret" not in json.dumps(prometheus.headers)


def test_without_credentials_amp_is_not_asked(
    prometheus: FakePrometheus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(AccessDenied, match="No AWS credentials"):
        PrometheusMetrics(prometheus.url, auth=SigV4("eu-west-1")).gpus(ADDRESS)
    assert prometheus.queries == []


@pytest.fixture
def real_prometheus(tmp_path: Path) -> Iterator[tuple[str, FakeEngine]]:
    """The real thing, scraping one fake engine every 250 ms as a ServiceMonitor would label it."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus binary")
    port = free_port()
    with FakeEngine("m") as engine:
        target = {
            "targets": [engine.url.removeprefix("http://")],
            "labels": {"namespace": "genai", "service": SERVICE, "pod": "a"},
        }
        job = {"job_name": "engines", "scrape_interval": "250ms", "scrape_timeout": "200ms", "static_configs": [target]}
        (tmp_path / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))
        arguments = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [binary, *arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
            )
        try:
            client = httpx.Client(transport=httpx.HTTPTransport(retries=8), base_url=f"http://127.0.0.1:{port}")
            assert client.get("/-/healthy", timeout=10).status_code == 200
            yield f"http://127.0.0.1:{port}", engine
        finally:
            process.kill()
            process.wait()


def test_the_real_prometheus_gives_the_reading_that_the_engine_itself_gives(real_prometheus: tuple[str, FakeEngine]):
    url, engine = real_prometheus
    metrics = PrometheusMetrics(url, fresh_within_s=20)
    assert metrics.read(ADDRESS).requests_finished == 0

    with OpenAIInference(engine.url) as inference:
        inference.chat("m", [{"role": "user", "content": "Hello"}])

    # A reading around a load needs neither answers nor starts, so it does not ask for them.
    own = replace(EngineMetricsReader().read(engine.url), responses=None, started_at=None)
    assert metrics.read(ADDRESS) == own
    with pytest.raises(EngineUnavailable, match="has no series"):
        PrometheusMetrics(url, fresh_within_s=1).read("http://m-another.genai:8000")
