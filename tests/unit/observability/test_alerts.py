"""Each alert fires on its fault and only there: `promtool test rules` on the rules that are rendered."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from genai_pipeline.core.clock_reasons import REASONS, SERIES
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.loadtest.gpu_verdict import HARDWARE_XIDS
from genai_pipeline.observability.alerts import alerts_of
from genai_pipeline.observability.platform_alerts import NODE_LIFE_S, platform_alerts
from genai_pipeline.observability.rule_groups import all_groups, prometheus_rules
from tests.fakes.prometheus import needs_promtool
from tests.fakes.promql import names
from tests.unit.observability.test_dashboards import known

EKS = Profile.of({"name": "eks"})
SPEC = ModelSpec.model_validate({"name": "weather", "source": {"hub": "owner/name"}})
EMBEDDER = ModelSpec.model_validate({"name": "vectors", "source": {"hub": "owner/name"}, "task": "embed"})
SCRAPES = 20
AT = "20m"

Series = dict[str, str]


def of(release: str) -> str:
    return (
        f'namespace="genai",pod="weather-{release}-0",service="weather-{release}",model="weather",release="{release}"'
    )


A = of("a")
LIVE = 'genai_live_release_info{namespace="genai",pod="exporter",model="weather",release="a",engine="vllm"}'
READ = 'genai_exporter_last_read_timestamp_seconds{namespace="genai",pod="exporter"}'
UP = f'up{{job="genai/engine",{A}}}'
WAITING, CACHE = f"vllm:num_requests_waiting{{{A}}}", f"vllm:kv_cache_usage_perc{{{A}}}"
ANSWERED = f'http_requests_total{{handler="/v1/chat/completions",method="POST",status="2xx",{A}}}'
FAILED = ANSWERED.replace("2xx", "5xx")
REFUSED = 'prometheus_remote_storage_samples_failed_total{namespace="monitoring",url="https://aps"}'
SENT = 'prometheus_remote_storage_queue_highest_sent_timestamp_seconds{namespace="monitoring",url="https://aps"}'
GPU = 'gpu="0",UUID="GPU-1",namespace="genai",pod="weather-a-0"'
XID, ECC = f"DCGM_FI_DEV_XID_ERRORS{{{GPU}}}", f"DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{GPU}}}"
REMAP, HEAT = f"DCGM_FI_DEV_ROW_REMAP_FAILURE{{{GPU}}}", f"DCGM_FI_DEV_GPU_TEMP{{{GPU}}}"
MASK = f"{SERIES[0]}{{{GPU}}}"
CREATED = 'kube_node_created{node="n1"}'
NODE_OF_POD = 'kube_pod_info{namespace="genai",pod="weather-a-0",node="n1"}'


def flat(value: float) -> str:
    return f"{value}+0x{SCRAPES}"


def rising(by: float) -> str:
    return f"0+{by}x{SCRAPES}"


def first_outputs(release: str, in_time: float, late: float) -> Series:
    """Return the histogram of an engine with so many first outputs in each scrape."""
    total = in_time + late
    buckets = {"0.5": in_time, "1.0": in_time, "2.5": total, "+Inf": total}
    made = {
        f'vllm:time_to_first_token_seconds_bucket{{le="{le}",{of(release)}}}': rising(n) for le, n in buckets.items()
    }
    return made | {f"vllm:time_to_first_token_seconds_count{{{of(release)}}}": rising(total)}


HEALTHY: Series = {
    READ: rising(60),
    LIVE: flat(1), UP: flat(1), CACHE: flat(0.3), WAITING: flat(2), ANSWERED: rising(5), FAILED: rising(0),
    REFUSED: flat(0), SENT: rising(60), XID: flat(31), ECC: flat(0), REMAP: flat(0), HEAT: flat(60), MASK: flat(0x4),
    CREATED: flat(0), NODE_OF_POD: flat(1), **first_outputs("a", 5, 0),
}  # fmt: skip
FAULTS: list[tuple[str, Series]] = [
    ("GenaiReleasesUnread", {READ: flat(60)}),
    ("GenaiEngineUnseen", {UP: flat(0)}),
    ("GenaiAnswersFail", {FAILED: rising(1)}),
    ("GenaiFirstOutputLate", first_outputs("a", 1, 4)),
    ("GenaiFirstOutputSlow", first_outputs("a", 3, 2)),
    ("GenaiQueueLong", {WAITING: flat(30)}),
    ("GenaiKvCacheFull", {CACHE: flat(0.85)}),
    ("GenaiMetricsRefused", {REFUSED: rising(3)}),
    ("GenaiMetricsLate", {SENT: flat(60)}),
    ("GenaiGpuXid", {XID: flat(79)}),
    ("GenaiGpuMemoryErrors", {ECC: flat(1)}),
    ("GenaiGpuMemoryErrors", {REMAP: flat(1)}),
    ("GenaiGpuHot", {HEAT: flat(85)}),
    *(("GenaiGpuSlowed", {MASK: flat(0x4 | r.bit)}) for r in REASONS if r.is_fault),
    ("GenaiGpuSlowed", {MASK.replace(SERIES[0], SERIES[1]).replace("GPU-1", "GPU-2"): flat(0x20)}),
    ("GenaiNodeExpires", {CREATED: flat(-(NODE_LIFE_S - 3600))}),
]  # fmt: skip


@needs_promtool
@pytest.mark.parametrize(("alert", "fault"), FAULTS, ids=[f"{i}-{alert}" for i, (alert, _) in enumerate(FAULTS)])
def test_each_alert_fires_on_its_fault_and_no_other_does(alert: str, fault: Series, tmp_path: Path):
    also = {"GenaiFirstOutputSlow"} if alert == "GenaiFirstOutputLate" else set()

    assert_firing(tmp_path, HEALTHY | fault, {alert} | also)


def test_every_alert_has_a_fault_or_is_about_absence():
    assert {a.name for a in every_alert()} == {alert for alert, _ in FAULTS} | {"GenaiMetricsAbsent"}


@needs_promtool
def test_health_is_silent(tmp_path: Path):
    assert_firing(tmp_path, HEALTHY, set())


@needs_promtool
def test_figures_that_are_no_number_are_silent(tmp_path: Path):
    kept = (LIVE, UP, NODE_OF_POD)
    broken = {series: values if series in kept else " ".join(["NaN"] * SCRAPES) for series, values in HEALTHY.items()}

    assert_firing(tmp_path, broken, set())


@needs_promtool
def test_where_nothing_is_scraped_only_absence_is_reported(tmp_path: Path):
    assert_firing(tmp_path, {LIVE.replace("genai_live_release_info", "another"): flat(1)}, {"GenaiMetricsAbsent"})


@needs_promtool
def test_a_live_release_whose_engine_has_no_series_at_all_is_unseen(tmp_path: Path):
    assert_firing(tmp_path, {LIVE: flat(1), 'up{job="exporter",namespace="genai"}': flat(1)}, {"GenaiEngineUnseen"})


@needs_promtool
def test_one_lost_replica_of_two_is_no_alert(tmp_path: Path):
    assert_firing(tmp_path, HEALTHY | {UP.replace("weather-a-0", "weather-a-1"): flat(0)}, set())


@needs_promtool
def test_a_candidate_under_load_fires_nothing(tmp_path: Path):
    """A load test fills the queue of a candidate on purpose."""
    bad = {WAITING: flat(90), CACHE: flat(1), FAILED: rising(5), UP: flat(1)}
    candidate = {series.replace(A, of("b")): values for series, values in bad.items()}

    assert_firing(tmp_path, HEALTHY | candidate | first_outputs("b", 0, 9), set())


@needs_promtool
def test_without_the_exporter_of_releases_every_release_counts(tmp_path: Path):
    unknown = {series: values for series, values in HEALTHY.items() if series not in (LIVE, READ)}

    assert_firing(tmp_path, unknown | {WAITING: flat(30)}, {"GenaiQueueLong"})


@needs_promtool
def test_an_exporter_that_has_read_nothing_yet_silences_nothing(tmp_path: Path):
    unread = {series: values for series, values in HEALTHY.items() if series != LIVE} | {READ: flat(0)}

    assert_firing(tmp_path, unread | {WAITING: flat(30)}, {"GenaiQueueLong", "GenaiReleasesUnread"})


@needs_promtool
def test_the_first_release_of_a_model_fires_nothing_while_it_loads(tmp_path: Path):
    """It has no traffic yet, and its pod does not answer for as long as the weights are read."""
    loading = {READ: rising(60), UP: flat(0), WAITING: flat(90)}

    assert_firing(tmp_path, loading, set())


@needs_promtool
@pytest.mark.parametrize(
    "rare",
    [
        pytest.param({ANSWERED: rising(0.8), FAILED: rising(0.8)}, id="8 answers in 5 minutes"),
        pytest.param({ANSWERED: rising(5), FAILED: rising(0.3)}, id="2 failures in 5 minutes"),
        pytest.param(first_outputs("a", 0, 1.5), id="8 first outputs in 5 minutes"),
    ],
)
def test_few_requests_and_single_failures_prove_nothing(rare: Series, tmp_path: Path):
    assert_firing(tmp_path, HEALTHY | rare, set())


@needs_promtool
@pytest.mark.parametrize("prefix", ["ray_vllm_", "vllm_"])
def test_an_engine_that_exports_other_names_is_judged_too(prefix: str, tmp_path: Path):
    renamed = {series.replace("vllm:", prefix): values for series, values in (HEALTHY | {CACHE: flat(0.9)}).items()}

    assert_firing(tmp_path, renamed, {"GenaiKvCacheFull"})


@needs_promtool
def test_gpus_count_where_the_labels_of_their_exporter_are_renamed(tmp_path: Path):
    renamed = 'gpu="0",namespace="monitoring",pod="dcgm",exported_namespace="genai",exported_pod="weather-a-0"'
    others = 'gpu="1",namespace="monitoring",pod="dcgm",exported_namespace="elsewhere",exported_pod="x"'

    assert_firing(tmp_path, HEALTHY | {XID.replace(GPU, renamed): flat(48)}, {"GenaiGpuXid"})
    assert_firing(tmp_path, HEALTHY | {XID.replace(GPU, others): flat(48)}, set())


@needs_promtool
@pytest.mark.parametrize(
    ("alert", "fault", "said"),
    [
        ("GenaiGpuXid", {XID: flat(79)}, "GPU 0 of weather-a-0: Xid 79 means the hardware."),
        (
            "GenaiGpuXid",
            {
                XID.replace(
                    GPU, 'gpu="0",namespace="m",pod="dcgm",exported_namespace="genai",exported_pod="w-0"'
                ): flat(48)
            },
            "GPU 0 of w-0: Xid 48 means the hardware.",
        ),
        ("GenaiKvCacheFull", {CACHE: flat(0.9)}, "weather a: the KV cache of weather-a-0 is 90% full."),
        ("GenaiAnswersFail", {FAILED: rising(5)}, "weather a: 50% of answers fail."),
        ("GenaiMetricsLate", {SENT: flat(0)}, "https://aps got nothing for 20m 0s."),
    ],
)
def test_an_alert_says_what_happened_to_what(alert: str, fault: Series, said: str, tmp_path: Path):
    """promtool shows the texts of the alerts that fire when an expectation is wrong."""
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": all_groups([SPEC], EKS)}))
    nothing_expected = [{"alertname": alert, "eval_time": AT, "exp_alerts": []}]
    test = {"interval": "1m", "input_series": as_input(HEALTHY | fault), "alert_rule_test": nothing_expected}
    file = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(file))

    done = subprocess.run(["promtool", "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True)

    assert f'summary="{said}"' in done.stdout + done.stderr


@needs_promtool
def test_the_rules_of_every_task_are_valid(tmp_path: Path):
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": all_groups([SPEC, EMBEDDER], EKS)}))

    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_model_without_tokens_has_no_alert_about_the_kv_cache():
    assert "GenaiKvCacheFull" not in {a.name for a in alerts_of(EMBEDDER, "genai")}


def test_every_alert_links_to_a_section_of_the_page_for_operators():
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    sections = {heading.lower().replace(" ", "-") for heading in re.findall(r"^### (.+)$", page, re.M)}

    assert {a.name.lower() for a in every_alert()} <= sections
    assert set(re.findall(r"^### (Genai\w+)$", page, re.M)) == {a.name for a in every_alert()}


def test_the_limits_are_those_of_the_model_file():
    gates = {"serving": {"queue_max": 7, "kv_cache_max": 0.6, "ttft_p95_ms": 60, "error_rate_max": 0.3}}
    spec = ModelSpec.model_validate({"name": "weather", "source": {"hub": "owner/name"}, "gates": gates})
    by_name = {a.name: a.expr for a in alerts_of(spec, "genai")}

    assert ">= 7)" in by_name["GenaiQueueLong"]
    assert ">= 0.6)" in by_name["GenaiKvCacheFull"]
    assert "> 0.3 and" in by_name["GenaiAnswersFail"]


def test_alerts_ask_only_for_metrics_that_exist():
    asked = {name for group in all_groups([SPEC], EKS) for rule in group["rules"] for name in names(rule["expr"])}
    of_others = {"kube_node_created", "kube_pod_info"}
    of_prometheus = {name for name in asked if name.startswith("prometheus_remote_storage_")}

    assert asked - known() - of_others - of_prometheus == {"genai:release_with_traffic"}


def test_a_node_lives_as_long_as_the_pools_say():
    templates = (Path(__file__).parents[3] / "genai_pipeline" / "k8s" / "templates").glob("node_pool_*.yaml")
    lives = {life for template in templates for life in re.findall(r"expireAfter: (\d+)h", template.read_text())}

    assert lives == {str(NODE_LIFE_S // 3600)}


def test_every_code_that_means_the_hardware_is_in_the_alert():
    (xid,) = [a for a in platform_alerts(EKS) if a.name == "GenaiGpuXid"]

    assert {int(code) for code in re.findall(r"== (\d+)", xid.expr)} == set(HARDWARE_XIDS)


@needs_promtool
def test_promtool_finds_nothing_in_the_rules_of_several_models(tmp_path: Path):
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": all_groups([SPEC, EMBEDDER], EKS)}))

    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert "duplicate" not in done.stdout


def test_rules_as_objects_are_the_rules_of_the_file_with_the_label_that_the_operator_selects():
    objects = prometheus_rules([SPEC, EMBEDDER], EKS)

    assert [group for o in objects for group in o["spec"]["groups"]] == all_groups([SPEC, EMBEDDER], EKS)
    assert {o["metadata"]["labels"]["release"] for o in objects} == {"kube-prometheus-stack"}


def every_alert() -> list[Any]:
    return [*platform_alerts(EKS), *alerts_of(SPEC, "genai")]


def as_input(series: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]


def assert_firing(folder: Path, series: Mapping[str, str], firing: set[str]) -> None:
    """Let promtool evaluate the rules on these series, and compare which alerts fire in the end."""
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": all_groups([SPEC], EKS)}))
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)]
    question = 'group by (alertname) (ALERTS{alertstate="firing"})'
    test = {
        "interval": "1m",
        "input_series": as_input(series),
        "promql_expr_test": [{"expr": question, "eval_time": AT, "exp_samples": samples}],
    }
    file = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(file))
    done = subprocess.run(["promtool", "test", "rules", folder / "test.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
