"""The load from a process of its own, by a real session of Dagster Pipes; the pod is a process of this machine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

import dagster as dg
import pytest

from genai_pipeline.assets.load_by_pod import LoadPod, sender_of
from genai_pipeline.core.errors import AccessDenied, NotReady, Superseded
from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.k8s.load_pod import load_pod_name
from genai_pipeline.loadtest.load_test import ServingReport, measure
from genai_pipeline.resources.engines import Engines
from tests.cluster.lane import release
from tests.fakes.openai_server import FakeEngine, Faults
from tests.fakes.world import KUBERNETES, FakeCluster, World
from tests.integration.loadtest.conftest import MODEL

RELEASE = release("a")
POD = load_pod_name(RELEASE)
GATES = ServingGates(at_concurrency=2, requests=24, ttft_p95_ms=5000, min_tokens_per_s=1)


class OneMachine(FakeCluster):
    """Starts a pod's command as a process. `change` does something to each line of its log; `at_line` sees it first."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[subprocess.Popen[bytes]] = []
        self.change: Callable[[str], str] = str
        self.at_line: Callable[[str], object] = lambda line: None

    def lines_of(self, pod: str, deadline_s: float) -> Iterator[str]:
        (container,) = self.objects["Pod", pod]["spec"]["containers"]
        env = {variable["name"]: variable["value"] for variable in container["env"]}
        command = [sys.executable, *container["command"][1:]]
        assert container["command"][0] == "python3"
        process = subprocess.Popen(command, env=os.environ | env, stderr=subprocess.STDOUT, stdout=subprocess.PIPE)
        self.started.append(process)
        assert process.stdout
        for line in process.stdout:
            self.at_line(line.decode())
            yield self.change(line.decode().rstrip("\n"))
        self.objects["Pod", pod]["status"] = _status(process.wait())

    def delete(self, kind: str, name: str, deadline_s: float | None = 60) -> None:
        super().delete(kind, name, deadline_s)
        for process in self.started if kind == "Pod" else []:
            process.kill()
            process.wait()


def _status(exit_code: int) -> dict[str, Any]:
    end = {
        "exitCode": exit_code if exit_code >= 0 else 128 - exit_code,
        "reason": "Error" if exit_code else "Completed",
    }
    states = [{"name": "load-test", "ready": False, "state": {"terminated": end}}]
    return {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": states}


@pytest.fixture
def machine() -> OneMachine:
    return OneMachine()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def report(engine: FakeEngine, machine: OneMachine, said: list[str]) -> Callable[..., ServingReport]:
    """Measure the engine within a step of a run. Raises what the step raises."""
    engine.faults = Faults(ttft_s=0.02)
    found: list[ServingReport] = []
    engines = Engines(KUBERNETES, World(cluster=machine).gateways())

    def run(say: Callable[[str], object] = lambda text: None, **more: Any) -> ServingReport:
        def progress(text: str) -> None:
            said.append(text)
            say(text)

        @dg.asset
        def loaded(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            def session(extras, reader):
                return dg.open_pipes_session(context, dg.PipesEnvContextInjector(), reader, extras)

            send = LoadPod(session, engines, RELEASE, engine.url)
            reader = EngineMetricsReader()
            found.append(measure(engine.url, MODEL, GATES, reader, on_progress=progress, send=send, **more))
            return dg.MaterializeResult()

        dg.materialize([loaded])
        return found[-1]

    return run


def no_session(*_: object) -> NoReturn:
    raise AssertionError("nothing is sent yet")


def outcomes(report: ServingReport) -> set[Outcome]:
    """Of all verdicts but those that are not applicable here."""
    return {verdict.outcome for verdict in report.verdicts if verdict.check not in ("gpu_health", "cost")}


def test_the_pod_gives_the_run_the_same_report_as_the_run_itself(report, engine, machine, said):
    from_pod = report()
    seen_by_pod, told = len(engine.requests), list(said)
    said.clear()
    here = measure(engine.url, MODEL, GATES, EngineMetricsReader(), on_progress=said.append)

    assert [v.check for v in from_pod.verdicts] == [v.check for v in here.verdicts]
    assert outcomes(from_pod) == {Outcome.PASSED}
    assert from_pod.summary.keys() == here.summary.keys()
    assert [row["request"] for row in from_pod.requests] == [row["request"] for row in here.requests]
    assert seen_by_pod == len(engine.requests) - seen_by_pod
    assert [line for line in told if "at a time" in line] == [line for line in said if "at a time" in line]
    assert machine.objects.keys().isdisjoint({("Pod", POD)})


def test_the_pod_gets_what_the_plan_says_and_no_credentials(report, machine, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of the pipeline")
    pods: list[Any] = []
    machine.at_line = lambda line: pods.append(machine.objects.get(("Pod", POD)))

    report()

    (container,) = pods[0]["spec"]["containers"]
    assert {v["name"] for v in container["env"]} == {"DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES"}
    assert "a secret of the pipeline" not in json.dumps(pods[0])


def test_a_pod_that_is_killed_in_the_middle_proves_nothing(report, machine):
    def kill_in_the_last_step(line: str) -> None:
        if "2 at a time" in line:
            machine.started[-1].send_signal(signal.SIGKILL)

    machine.at_line = kill_in_the_last_step

    found = report()

    assert outcomes(found) == {Outcome.INCONCLUSIVE}
    assert "exit code 137" in found.verdicts[0].summary
    assert ("Pod", POD) not in machine.objects


def test_a_result_that_was_cut_is_no_result(report, machine):
    machine.change = lambda line: line[:-40] if "observations" in line else line

    found = report()

    assert outcomes(found) == {Outcome.INCONCLUSIVE}
    assert "its log has no result" in found.verdicts[0].summary


def test_a_result_without_its_requests_is_no_result(report, machine):
    machine.change = lambda line: line.replace('"observations"', '"observation"')

    assert outcomes(report()) == {Outcome.INCONCLUSIVE}


def test_what_the_process_wrote_is_part_of_the_reason(report, machine):
    machine.change = lambda line: "ImportError: no such thing" if "observations" in line else line

    assert "ImportError: no such thing" in report().verdicts[0].summary


def test_a_pod_that_does_not_start_is_no_fault_of_the_engine(report, machine):
    machine.not_ready[POD] = "The registry has no image pipeline"

    found = report()

    assert outcomes(found) == {Outcome.INCONCLUSIVE}
    assert "The registry has no image pipeline" in found.verdicts[0].summary
    assert "GENAI_LOAD_FROM=run" in found.verdicts[0].summary
    assert ("Pod", POD) not in machine.objects


def test_a_pipeline_that_may_make_no_pods_fails_no_release(report, machine, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AccessDenied("We may not create pods in namespace genai.", "Ask for the Role.")

    monkeypatch.setattr(machine, "apply", refuse)

    found = report()

    assert outcomes(found) == {Outcome.INCONCLUSIVE}
    assert "We may not create pods" in found.verdicts[0].summary


def test_a_newer_release_ends_the_load_and_its_pod(report, machine):
    def overtake(text: str) -> None:
        if "2 at a time" in text:
            raise Superseded("A newer release is asked for.")

    with pytest.raises(Superseded):
        report(overtake)

    assert ("Pod", POD) not in machine.objects
    assert machine.started[-1].returncode == -signal.SIGKILL


def test_a_cancelled_run_removes_the_pod(report, machine):
    def cancel(line: str) -> None:
        if "2 at a time" in line:
            raise KeyboardInterrupt

    machine.at_line = cancel

    with pytest.raises(KeyboardInterrupt):
        report()

    assert ("Pod", POD) not in machine.objects


def test_a_pod_that_was_left_over_is_removed_before_the_engine_counts(machine):
    machine.objects["Pod", POD] = {"metadata": {"name": POD, "labels": {}}, "of": "a run that was killed"}
    engines = Engines(replace(KUBERNETES, load_from="pod"), World(cluster=machine).gateways())

    sender_of(no_session, engines, RELEASE)

    assert ("Pod", POD) not in machine.objects


def test_a_pod_that_may_not_be_removed_fails_no_release(machine, monkeypatch):
    def refuse(*_: object) -> None:
        raise AccessDenied("We may not delete pods in namespace genai.", "Ask for the Role.")

    monkeypatch.setattr(machine, "delete", refuse)
    engines = Engines(replace(KUBERNETES, load_from="pod"), World(cluster=machine).gateways())

    with pytest.raises(NotReady, match="We may not delete pods"):
        sender_of(no_session, engines, RELEASE)


def test_a_pod_that_cannot_be_removed_spoils_no_result(report, machine, monkeypatch):
    delete = machine.delete

    def deaf(kind: str, name: str, deadline_s: float | None = 60) -> None:
        if (kind, name) in machine.objects:
            raise NotReady("The API is away.")
        delete(kind, name, deadline_s)

    monkeypatch.setattr(machine, "delete", deaf)

    assert outcomes(report()) == {Outcome.PASSED}


@pytest.mark.parametrize(
    ("chosen", "by_proxy", "from_pod"),
    [(None, True, True), (None, False, False), ("run", True, False), ("pod", False, True)],
)
def test_a_pod_sends_the_load_where_a_proxy_would_be_measured_or_where_it_is_asked_for(chosen, by_proxy, from_pod):
    class Reached(FakeCluster):
        @property
        def by_proxy(self) -> bool:
            return by_proxy

    engines = Engines(replace(KUBERNETES, load_from=chosen), World(cluster=Reached()).gateways())

    assert isinstance(sender_of(no_session, engines, RELEASE), LoadPod) is from_pod


def test_one_machine_sends_its_load_from_the_run():
    assert Profile.load({"GENAI_LOAD_FROM": "pod"}).load_from is None


def test_started_by_hand_the_command_says_who_starts_it():
    done = subprocess.run(
        [sys.executable, "-m", "genai_pipeline.loadtest"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "m/serving_report" in done.stderr
    assert "Traceback" not in done.stderr
