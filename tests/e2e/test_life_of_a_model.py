"""The README's promise, as a user sees it: real S3, hub, vLLM, agent and Dagster."""

import json
from contextlib import suppress

import httpx
import pytest

pytestmark = pytest.mark.timeout(900)


def test_up_takes_the_newest_revision_live_with_every_check_passed(installation, v1):
    assert v1.code == 0, v1.output
    assert "Dagster UI" in v1.output
    assert "14°C in Paris" in v1.output
    first = installation.model["releases"][0]
    assert first["verdicts"]["missing"] == 0
    assert first["verdicts"]["passed"] > 25
    assert first["not_passed"] == []


def test_up_again_is_harmless(installation, v1):
    again = installation.genai("up")

    assert again.code == 0, again.output
    assert "14°C in Paris" in again.output


def test_a_plan_of_the_live_model_finds_all_and_changes_nothing(installation, v1):
    before = installation.model["releases"]

    plan = installation.genai("plan", "weather")

    assert plan.code == 0, plan.output
    assert "staged already" in plan.output
    assert installation.model["releases"] == before


@pytest.mark.long
def test_the_second_version_goes_live_without_a_failed_request(installation, v2):
    assert v2.ended.code == 0, v2.ended.output
    assert v2.seen.total_failed == 0, v2.seen.causes
    assert min(v2.seen.sent.values()) > 10
    assert installation.model["last_good"] == v2.before
    assert installation.model["live"] not in (None, v2.before)


@pytest.mark.long
def test_a_killed_run_is_tried_again_and_converges(installation, v2):
    assert v2.killed >= 1
    assert installation.release("live")["attempts"] == 2


@pytest.mark.long
def test_the_third_version_is_rejected_for_what_only_the_agent_report_sees(installation, v3):
    assert v3.ended.code == 1
    assert "Rejected" in v3.ended.output
    rejected = installation.release("rejected")
    assert {check["check"].split(".")[0] for check in rejected["not_passed"]} == {"agent_report"}
    assert "agent_report.tool_accuracy" in rejected["reason"]


@pytest.mark.long
def test_a_rejected_version_leaves_live_as_it_was(installation, v3):
    assert installation.model["live"] == v3.before
    assert v3.seen.total_failed == 0, v3.seen.causes


@pytest.mark.long
def test_a_live_release_that_goes_bad_is_rolled_back_by_itself(installation, gone_bad):
    assert installation.model["live"] == gone_bad.before
    assert gone_bad.seen.total_failed == 0, gone_bad.seen.causes
    history = installation.genai("history", "weather", "--json").output
    bad = next(r for r in json.loads(history)["releases"] if r["state"] == "rolled back")
    assert bad["ended_by"] == "watch"
    assert "fault switch" in bad["why"]


@pytest.mark.long
def test_the_live_agent_answers_at_its_stable_address(installation, v2):
    answer = httpx.post(
        installation.model["endpoints"]["agent"], json={"prompt": "What is the weather in São Paulo?"}, timeout=60
    )

    assert answer.status_code == 200
    assert answer.json()["tools"][0]["arguments"] == {"location": "São Paulo"}


def test_the_logs_of_the_engine_the_agent_and_the_services_are_at_hand(installation, v1):
    assert "POST /v1/chat/completions" in installation.genai("logs", "weather").output
    assert "==> weather-agent-" in installation.genai("logs", "agent").output
    assert installation.genai("logs", "code", "-n", "500").output.strip()


@pytest.mark.long
def test_no_secret_is_in_the_logs_or_in_the_records(installation, v2):
    secret = json.loads((installation.home / "s3-credentials.json").read_text())["secret_key"].encode()

    shown = [p for folder in ("logs", "dagster") for p in (installation.home / folder).rglob("*") if p.is_file()]
    assert len(shown) > 5
    assert not [p for p in shown if secret in _bytes_of(p)]


def _bytes_of(path):
    """Return what the file holds. SQLite removes its write-ahead log when the last connection closes."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    assert path.name.endswith(("-wal", "-shm", "-journal"))
    return b""
