"""One model's life on a real node: v1 goes live, v2 replaces it under traffic; real vLLM, real agent, real Dagster.

Dagster is inside the cluster, as the chart installs it: each run is a Job, with the account and the Role that we ship.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from genai_pipeline.core.checks import PLATFORM_CHECKS, REQUIRED_FOR_LIVE
from genai_pipeline.core.record import Phase
from genai_pipeline.loadtest.probe import ContinuousProbe, ProbeResult
from tests.cluster.dagster_in_cluster.installation import FULL_NAME, address_of, helm_of, install_dagster
from tests.cluster.dagster_in_cluster.output import captured
from tests.cluster.dagster_in_cluster.runs import runs_of
from tests.cluster.identities import kubectl
from tests.cluster.life.documentation import DOCUMENT, commands, run_as_reader
from tests.cluster.life.images import image_name
from tests.cluster.life.rollouts import Ended, checks_of_last_rollout, wait_until_ended
from tests.cluster.life.surroundings import SECRET, Installation, installed
from tests.cluster.life.weather import MODEL, model_file, not_passed, revision
from tests.cluster.machine.cluster import until
from tests.cluster.machine.objects import api

pytestmark = [pytest.mark.needs("pods"), pytest.mark.timeout(1800)]

NOT_ASKED = {"agent_report.tool_calling", "serving_report.gpu_health", "capacity.reservation_active"}
"""No gate asks for the suite of tool calls, and the engine has no GPU."""


@pytest.fixture(scope="module")
def installation(real, tmp_path_factory) -> Iterator[Installation]:
    with installed(real, tmp_path_factory, "life", model_file()) as installation:
        yield installation


@pytest.fixture(scope="module")
def v1(installation) -> Ended:
    """Dagster is installed on nothing; its sensor finds what the hub has."""
    installation.publish("v1")
    install_dagster(installation)
    return wait_until_ended(installation, MODEL, revision("v1"))


@dataclass(frozen=True)
class Switch:
    """The way from one release to the next as users saw it."""

    ended: Ended
    seen: ProbeResult


@pytest.fixture(scope="module")
def v2(installation, v1) -> Switch:
    """A new revision is published while clients ask the stable address."""
    assert v1.record.phase is Phase.LIVE, v1.why
    engine = installation.engines.traffic().url(MODEL)
    with ContinuousProbe(engine, MODEL, rate_per_s=1, request_deadline_s=180) as probe:
        installation.publish("v2")
        ended = wait_until_ended(installation, MODEL, revision("v2"))
        probe.see(20, 60)
    return Switch(ended, probe.result())


def pods(installation: Installation, release: str) -> dict[str, Any]:
    """Component -> the one pod of it that belongs to a release."""
    from kubernetes import client

    with api(installation.cluster.kubeconfig) as connection:
        found = client.CoreV1Api(connection).list_namespaced_pod(
            installation.namespace, label_selector=f"genai-pipeline/release={release}"
        )
    return {pod.metadata.labels["app.kubernetes.io/component"]: pod for pod in found.items}


def test_the_first_revision_goes_live_with_every_check_passed(installation, v1):
    assert v1.record.phase is Phase.LIVE, v1.why
    assert not_passed(v1.record) == {}
    assert set(v1.record.required) <= set(v1.record.verdicts)
    assert set(v1.record.required) == set(REQUIRED_FOR_LIVE) - NOT_ASKED


def test_dagster_shows_the_platforms_checks_green_too(installation, v1):
    checks = checks_of_last_rollout(installation)

    assert [f"{name}: {outcome}" for name, outcome in checks.items() if outcome != "passed"] == []
    asked = {asset: names for asset, names in PLATFORM_CHECKS.items() if asset != "node_pools"}  # of EKS only
    wanted = {f"platform/{asset}.{check}" for asset, names in asked.items() for check in names}
    assert wanted <= checks.keys()


def test_helm_test_asks_whether_the_definitions_are_loaded_and_passes(installation, v1):
    done = helm_of(installation, "test", "dagster", "--logs", "--timeout=240s")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_every_run_was_the_pod_of_a_job_of_its_own(installation, v1, v2):
    with runs_of(installation) as runs:
        ran = {run.run_id: run.job_name for ended in (v1, v2.ended) for run in runs.of(ended.record.release)}
        jobs = [job["metadata"]["labels"]["dagster/run-id"] for job in runs.jobs()]

    assert sorted(ran.values()) == [f"promote_{MODEL}"] * 2 + [f"rollout_{MODEL}"] * 2
    assert {run: jobs.count(run) for run in ran} == dict.fromkeys(ran, 1)


def test_the_webserver_shows_what_each_step_wrote_which_is_in_s3(installation, v1):
    with runs_of(installation) as runs:
        (rollout,) = runs.of(v1.record.release, "rollout")
        shown = captured(f"http://{address_of(installation, FULL_NAME)}/graphql", rollout)

    assert {f"{MODEL}__{asset}" for asset in ("snapshot", "staged_model", "candidate", "agent_report")} <= shown.keys()
    assert [step for step, text in shown.items() if "STEP_START" not in text] == []
    kept = installation.engines.gateways.store.list(f"dagster-logs/storage/{rollout.run_id}/compute_logs/")
    assert len([key for key in kept if key.key.endswith(".err")]) == len(shown)


def test_the_engine_is_a_real_vllm_that_read_its_weights_from_s3(installation, v1):
    verdict = v1.record.verdicts["candidate.weights_from_staged_prefix"]

    assert verdict.passed
    assert f"s3://genai/models/{MODEL}/{v1.record.revision}/" in json.dumps(verdict.evidence)


def test_the_second_revision_takes_over_without_a_failed_request(installation, v2):
    assert v2.ended.record.phase is Phase.LIVE, v2.ended.why
    assert not_passed(v2.ended.record) == {}
    assert v2.seen.total_failed == 0, v2.seen.causes
    assert min(v2.seen.sent.values()) > 20
    assert v2.ended.record.facts.strategy == "blue_green"


def test_clients_saw_the_one_revision_and_then_the_other(installation, v1, v2):
    roots = [root.rstrip("/").rsplit("/", 1)[-1] for root in v2.seen.roots]

    assert roots == [v1.record.revision, v2.ended.record.revision]


def test_the_replaced_release_is_scaled_to_zero_and_kept(installation, v1, v2):
    # Live is written before the drain begins.
    until(lambda: not pods(installation, v1.record.release), "the end of the replaced release", 120)
    kept = installation.engines.gateways.cluster.get("Deployment", v1.record.as_release.object_name)
    assert kept is not None
    assert kept["spec"]["replicas"] == 0


def test_the_agent_runs_from_its_own_image_and_not_as_root(installation, v2):
    agent = pods(installation, v2.ended.record.release)["agent"]

    assert agent.spec.containers[0].image == image_name("strands-agent")
    assert agent.spec.containers[0].command is None
    assert agent.spec.security_context.run_as_user == 2000


def test_the_agent_answers_a_question_about_the_weather_at_its_stable_address(installation, v2):
    agent = installation.engines.traffic().url(MODEL, "agent")

    answer = httpx.post(f"{agent}/agent", json={"prompt": "What is the weather in São Paulo?"}, timeout=120)

    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Genai-Release"] == v2.ended.record.release
    assert answer.json()["tools"][0]["arguments"] == {"location": "São Paulo"}


def test_status_tells_it_from_any_shell(installation, v2):
    status = json.loads(installation.genai("status", "--json").stdout)

    assert status["problems"] == []
    assert status["models"][0]["live"] == v2.ended.record.release
    assert status["models"][0]["endpoints"]["openai"].startswith("http://10.96.")


def test_every_command_of_the_documentation_runs_as_it_stands_there(installation, v2, tmp_path):
    done = run_as_reader(commands(DOCUMENT.read_text()), installation, tmp_path)

    assert done.returncode == 0, done.stderr
    assert v2.ended.record.release in done.stdout


def test_a_command_that_does_not_run_would_be_seen(installation, v1, tmp_path):
    done = run_as_reader(["true\n", "kubectl get deploymants\n", "true\n"], installation, tmp_path)

    assert done.returncode != 0
    assert "failed: kubectl get deploymants" in done.stderr


def test_no_secret_is_in_logs_records_or_manifests(installation, v2):
    shown = [p for p in installation.folder.rglob("*") if p.suffix in (".log", ".yaml", ".db") and p.is_file()]
    objects = json.dumps([installation.engines.gateways.cluster.list(kind) for kind in ("Deployment", "Pod")])
    words = ["logs", "-n", installation.namespace, "-l", "app.kubernetes.io/instance=dagster", "--tail=-1"]
    said = kubectl(installation.cluster.kubeconfig, *words, "--max-log-requests=50").stdout

    assert len(shown) > 3
    assert [p for p in shown if SECRET.encode() in p.read_bytes()] == []
    assert SECRET not in objects
    assert "rollout_weather" in said
    assert SECRET not in said
