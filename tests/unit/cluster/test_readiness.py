"""Whether waiting is over, is in vain, and what is said then."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.known_causes import likely_cause
from genai_pipeline.gateways.cluster.diagnosis.readiness import not_ready, readiness_of
from genai_pipeline.local.cluster import pod_status
from genai_pipeline.local.cluster.objects import seconds_of, timestamp


def deployment(replicas: int = 1, available: int = 0, observed: int = 1, **condition: str) -> dict[str, Any]:
    status = {
        "observedGeneration": observed,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "availableReplicas": available,
        "conditions": [condition] if condition else [],
    }
    return {"metadata": {"name": "m", "generation": 1}, "spec": {"replicas": replicas}, "status": status}


def pod(template: str = "t", at: str = "1", restarts: int = 0, ready: bool = False, **state: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i:1", "ready": ready, "restartCount": restarts, "state": state, "lastState": {}}
    meta = {"name": f"m-{template}", "creationTimestamp": at, "labels": {"pod-template-hash": template}}
    return {"metadata": meta, "status": {"containerStatuses": [container]}}


def test_it_is_done_when_the_newest_generation_is_available() -> None:
    assert readiness_of(deployment(1, 1), Evidence([])).done
    assert readiness_of(deployment(0, 0), Evidence([])).done
    assert not readiness_of(deployment(1, 1, observed=0), Evidence([])).done
    assert not readiness_of(deployment(2, 1), Evidence([])).done


def test_surplus_old_pods_mean_it_is_not_done() -> None:
    rolling = deployment(1, 1)
    rolling["status"]["replicas"] = 2

    assert not readiness_of(rolling, Evidence([])).done


def scaled(replicas: int, updated: int, available: int, wanted: int) -> dict[str, Any]:
    found = deployment(replicas, available)
    found["metadata"]["annotations"] = {"genai-pipeline/fewest-replicas": "2", "genai-pipeline/most-replicas": "9"}
    found["status"]["updatedReplicas"], found["spec"]["replicas"] = updated, wanted
    return found


def test_the_fewest_replicas_that_an_autoscaler_allows_are_enough() -> None:
    assert readiness_of(scaled(4, 4, 2, wanted=4), Evidence([])).done  # what it adds finds no room yet
    assert not readiness_of(scaled(4, 4, 1, wanted=4), Evidence([])).done
    assert not readiness_of(scaled(4, 2, 4, wanted=4), Evidence([])).done  # old pods are left
    assert readiness_of(scaled(0, 0, 0, wanted=0), Evidence([])).done


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_had_is_hopeless(reason: str) -> None:
    assert "i:1" in readiness_of(deployment(), Evidence([pod(waiting={"reason": reason})])).hopeless


def test_a_few_crashes_leave_hope_and_more_do_not() -> None:
    assert not readiness_of(deployment(), Evidence([pod(restarts=2, running={})])).hopeless
    assert "3 restarts" in readiness_of(deployment(), Evidence([pod(restarts=3, running={})])).hopeless


def test_an_old_pod_that_crashes_does_not_make_the_new_one_hopeless() -> None:
    pods = [pod("old", at="1", restarts=9, running={}), pod("new", at="2", running={})]

    assert not readiness_of(deployment(), Evidence(pods)).hopeless


def test_an_exceeded_progress_deadline_is_hopeless() -> None:
    stuck = deployment(type="Progressing", status="False", reason="ProgressDeadlineExceeded")

    assert "ProgressDeadlineExceeded" in readiness_of(stuck, Evidence([])).hopeless


def test_the_diagnosis_has_events_log_lines_cause_and_remedy() -> None:
    progress = readiness_of(deployment(), Evidence([pod(restarts=3, waiting={"reason": "CrashLoopBackOff"})]))
    events = [
        ClusterEvent("t", "Pod", "p", "Normal", "Started", "x"),
        ClusterEvent("t", "Pod", "p", "Warning", "W", "y"),
    ]
    text = str(
        not_ready("Deployment", "m", "why", progress, events, "line\nModuleNotFoundError: No module named 'runai'")
    )

    for expected in ("Deployment m", "why", "CrashLoopBackOff", "W: y", "line", "Likely cause", "'runai'", "Install"):
        assert expected in text
    assert "Started" not in text


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("api_server.py: error: unrecognized arguments: --foo 3", "argument: --foo 3"),
        ("ValueError: To serve at least one request, 4 GiB KV cache is needed", "KV cache"),
        ("No available memory for the cache blocks", "KV cache"),
        ("torch.OutOfMemoryError: CUDA out of memory", "memory"),
        (
            "botocore.exceptions.ClientError: An error occurred (NoSuchKey) when calling GetObject",
            "store does not have",
        ),
        ("An error occurred (403) when calling the HeadObject operation: Forbidden", "refuses these credentials"),
        ('Could not connect to the endpoint URL: "http://127.0.0.1:1/x"', "cannot be reached"),
        ("Model architectures ['FooForCausalLM'] are not supported for now", "architecture"),
        ("OSError: [Errno 98] Address already in use", "port"),
        ("ModuleNotFoundError: No module named 'vllm'", "No module named 'vllm'"),
        ("cannot start /bin/nope: [Errno 2] No such file", "command"),
    ],
)
def test_log_lines_tell_their_cause(line: str, what: str) -> None:
    cause = likely_cause(f"INFO starting\n{line}\nINFO bye")

    assert cause is not None
    assert what in cause.what
    assert cause.remedy


def test_an_ordinary_log_has_no_cause() -> None:
    assert likely_cause("INFO: Started server process\nINFO: GET /v1/models 200 OK") is None


def test_back_off_starts_at_once_then_doubles_up_to_its_limit() -> None:
    waits = [pod_status.backoff(n, 2) for n in range(10)]

    assert waits[:4] == [0, 2, 4, 8]
    assert waits[-1] == pod_status.BACKOFF_MAX_S


def test_a_container_that_ran_for_long_starts_again_at_once() -> None:
    status = {"restartCount": 5, "state": {"running": {"startedAt": timestamp(0)}}}

    assert "terminated" in pod_status.after_exit(status, 1, "", 3600, 2)["state"]
    crashed = pod_status.after_exit(status, 1, "", 10, 2)
    assert crashed["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert pod_status.restart_at(crashed, 2) == seconds_of(timestamp(10)) + 32
