import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from genai_pipeline.cli.status import status_of, status_page
from genai_pipeline.core.checks import REQUIRED_FOR_LIVE
from genai_pipeline.core.errors import StoreUnavailable
from genai_pipeline.core.model_spec import NO_AGENT, ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Live, Phase, Record, live_key, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import failed, inconclusive, passed
from genai_pipeline.gateways import Gateways
from tests.fakes.store import MemoryStore
from tests.fakes.world import FakeCluster

SPEC = ModelSpec.model_validate({"name": "weather", "source": {"hub": "owner/model"}})
RECORD = (
    Record("weather", "r1", "a" * 40, {})
    .with_event("2026-01-01T00:00:00Z", "found")
    .with_verdicts("candidate", [passed("expected_model_answers", "yes")], 2.0)
    .with_verdicts("serving_report", [failed("ttft_p95", "900 ms"), inconclusive("cost", "no price")], 3.0)
    .in_phase(Phase.REJECTED, "too slow")
)


@pytest.fixture
def store():
    return MemoryStore(
        {
            record_key("weather", "r1"): RECORD.to_bytes(),
            live_key("weather"): Live("r0", "b" * 40, "2026-01-01T00:00:00Z", "r-1").to_bytes(),
        }
    )


@pytest.fixture
def profile(tmp_path):
    return Profile.load({"GENAI_HOME": str(tmp_path)})


def status(profile, store, cluster=None, spec=SPEC, env=None):
    gateways = Gateways(None, store, cluster or FakeCluster(), None, None, None)
    return status_of(profile, gateways, [spec], env or {"PATH": ""})


def test_the_json_has_the_fields_that_programs_read(profile, store):
    cluster = FakeCluster()
    for name in ("weather", "weather-agent"):
        cluster.objects["Service", name] = {"kind": "Service", "metadata": {"name": name}}

    found = json.loads(json.dumps(status(profile, store, cluster)))

    assert found["schema"] == 1
    (model,) = found["models"]
    assert (model["name"], model["live"], model["last_good"]) == ("weather", "r0", "r-1")
    assert model["endpoints"]["openai"].endswith("/v1")
    assert model["endpoints"]["agent"].endswith("/agent")
    (release,) = model["releases"]
    assert release["phase"] == "rejected"
    assert release["verdicts"] == {
        "passed": 1,
        "failed": 1,
        "inconclusive": 1,
        "missing": len(REQUIRED_FOR_LIVE) - 3,
    }
    assert [v["check"] for v in release["not_passed"]] == ["serving_report.cost", "serving_report.ttft_p95"]


def test_when_everything_is_down_it_says_so_and_what_to_do(profile, store):
    store.go_down()

    found = status(profile, store)

    assert {s["state"] for s in found["services"]} == {"stopped"}
    assert found["models"][0]["live"] is None
    assert any("supervisord does not answer" in problem for problem in found["problems"])
    assert any("store" in problem for problem in found["problems"])


def test_without_a_prometheus_it_says_where_metrics_are_read_and_what_to_install(profile, store):
    found = status(profile, store)

    assert found["metrics"]["source"] == "each engine's own /metrics"
    assert "Install Prometheus" in found["metrics"]["says"]
    assert "prometheus" not in [s["name"] for s in found["services"]]


def test_a_prometheus_that_can_be_used_is_a_service_with_its_version(profile, store, tmp_path):
    program = tmp_path / "prometheus"
    program.write_text("#!/bin/sh\necho 'prometheus, version 3.5.0 (branch: x)'\n")
    program.chmod(0o755)

    found = status(profile, store, env={"PATH": str(tmp_path)})

    assert "3.5.0" in found["metrics"]["says"]
    assert ("prometheus", "stopped") in [(s["name"], s["state"]) for s in found["services"]]


def test_it_says_where_alerts_go(profile, store, tmp_path):
    program = tmp_path / "prometheus"
    program.write_text("#!/bin/sh\necho 'prometheus, version 3.5.0 (branch: x)'\n")
    program.chmod(0o755)
    env = {"PATH": str(tmp_path)}
    console = Console(file=io.StringIO(), width=400)

    unset = status(profile, store, env=env)
    missing = status(profile, store, env=env | {"GENAI_ALERT_WEBHOOK": "https://hooks/veryprivate"})
    for part in status_page(missing):
        console.print(part)

    assert "set GENAI_ALERT_WEBHOOK" in unset["metrics"]["alerts"]
    assert "Install Alertmanager" in missing["metrics"]["alerts"]
    assert "Install Alertmanager" in console.file.getvalue()
    assert "veryprivate" not in json.dumps(missing)
    assert status(profile, store)["metrics"]["alerts"] == ""


def test_the_dashboards_are_linked_where_there_is_a_prometheus(profile, store):
    own = {"GENAI_PROMETHEUS_URL": "http://mine"}
    asked = replace(profile, prometheus_url="http://mine", dashboards_url="http://127.0.0.1:8593")
    console = Console(file=io.StringIO(), width=400)

    found = status(asked, store, env=own)
    for part in status_page(found):
        console.print(part)

    assert "Dashboards: http://127.0.0.1:8593" in console.file.getvalue()
    assert status(profile, store)["metrics"]["dashboards"] is None


def test_the_same_problem_is_reported_once(profile, store):
    def down(method, key):
        raise StoreUnavailable("The store is down.", "Start it.")

    store.fail = down

    assert status(profile, store)["problems"].count("The store is down. Start it.") == 1


def test_what_cannot_be_read_is_unknown_and_not_none(profile, store):
    def down(method, key):
        raise StoreUnavailable("The store is down.", "Start it.")

    store.fail = down

    assert "weather: live unknown" in status_page(status(profile, store))


def test_the_page_names_what_did_not_pass(profile, store):
    console = Console(file=io.StringIO(), width=200)

    for part in status_page(status(profile, store)):
        console.print(part)

    page = console.file.getvalue()
    assert "serving_report.ttft_p95 failed: 900 ms" in page
    assert "live r0" in page


def test_a_live_release_that_loses_its_traffic_is_distinguished(profile, store):
    found = status(profile, store)
    (model,) = found["models"]
    model["releases"] = [{**release, "phase": "rolled back"} for release in model["releases"]]
    model["live"] = model["releases"][0]["release"]
    console = Console(file=io.StringIO(), width=200)

    for part in status_page(found):
        console.print(part)

    assert f"live {model['live']} · being rolled back" in console.file.getvalue().replace("\n", " ")


def test_a_proven_release_says_what_it_waits_for(profile, store):
    paused = SPEC.model_copy(update={"rollout": SPEC.rollout.model_validate({"paused": True})})
    proven = replace(RECORD, phase=Phase.ROLLING_OUT, verdicts={name: passed(name, "") for name in REQUIRED_FOR_LIVE})
    store.put(record_key("weather", "r1"), proven.to_bytes())

    (release,) = status(profile, store)["models"][0]["releases"]
    (waits,) = status(profile, store, spec=paused)["models"][0]["releases"]

    assert release["waits_for"] == "r1 is proven; its promotion comes next"
    assert "rollout.paused" in waits["waits_for"]


def test_checks_that_do_not_apply_are_shown_with_their_reason_and_count_as_nothing(profile, store):
    plain = SPEC.model_copy(update={"agent": NO_AGENT})
    release = Release.of(plain, "b" * 40)
    record = Record("weather", release.id, "b" * 40, plain.model_dump(mode="json"))
    record = record.with_event("2026-02-01T00:00:00Z", "found")
    record = replace(record, verdicts={name: passed(name, "") for name in record.required})
    store.put(record_key("weather", release.id), record.to_bytes())
    console = Console(file=io.StringIO(), width=400)

    found = status(profile, store, spec=plain)
    for part in status_page(found):
        console.print(part)

    (shown,) = [each for each in found["models"][0]["releases"] if each["release"] == release.id]
    why = {each["check"]: each["why"] for each in shown["not_applicable"]}
    assert why["agent_report.task_success"] == "The model file has no agent."
    assert shown["verdicts"]["missing"] == 0
    assert shown["verdicts"]["passed"] + len(why) == len(REQUIRED_FOR_LIVE)
    assert f"{shown['verdicts']['passed']} passed {len(why)} not applicable" in console.file.getvalue()
    assert "candidate.tool_call_parsed. No agent calls tools" in console.file.getvalue()
