"""`genai doctor --probe` on a cluster in memory: what it asks, what it makes of the answers, what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.cli.doctor import Finding
from genai_pipeline.cli.probe.pods_probe import probe_findings
from genai_pipeline.cli.probe.probe_jobs import JOB, LABELS, ProbeJobs
from genai_pipeline.core.errors import AccessDenied, ClusterUnavailable
from genai_pipeline.gateways import Gateways, StoreKeys
from genai_pipeline.gateways.cluster.abc import Applied, ClusterEvent
from tests.fakes.model_texts import with_tools
from tests.fakes.store import MemoryStore
from tests.fakes.world import PROFILE, FakeCluster, FakeHub

S3 = "http://minio.storage:9000"
WEATHER = "http://weather"
KUBERNETES = replace(PROFILE, name="kubernetes", s3_endpoint=S3, namespace="models", hub_endpoint="http://hub")
NODE: Mapping[str, Any] = {
    "kind": "Node",
    "metadata": {"name": "n1", "labels": {"kubernetes.io/arch": "amd64"}},
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"},
    },
}
Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""The container's state, of the container's spec."""


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(message: str = "", reason: str = "StartError") -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": 128, "message": message}}


def all_is_well(container: Mapping[str, Any]) -> dict[str, Any]:
    asked = next((json.loads(e["value"]) for e in container["env"] if e["name"] == "GENAI_PROBE"), None)
    return ended(json.dumps({key: {} for key in [*asked["urls"], "bucket"]}) if asked else "no such file")


class Kubelet(FakeCluster):
    """Runs the Jobs of a probe: one pod each, whose container is in the state that `answer` says."""

    def __init__(self, answer: Answer = all_is_well, says: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__()
        self.answer, self.says, self.jobs, self.now = answer, says, list[dict[str, Any]](), 0.0
        self.objects["Node", "n1"] = json.loads(json.dumps(NODE))

    def apply(self, objects: Sequence[Mapping[str, Any]], take_back: bool = False) -> list[Applied]:
        applied = super().apply(objects)
        for job in (o for o in objects if o["kind"] == "Job"):
            self.jobs.append(dict(job))
            self.run(job)
        return applied

    def run(self, job: Mapping[str, Any]) -> None:
        template, name = job["spec"]["template"], job["metadata"]["name"]
        (container,) = template["spec"]["containers"]
        state = self.answer(container)
        phase = "Failed" if "terminated" in state else "Pending"
        about = {"name": "probe", "image": container["image"], "state": state, "ready": False, "restartCount": 0}
        meta = {"name": f"{name}-x", "labels": {**template["metadata"]["labels"], JOB: name}}
        status = {"phase": phase, "containerStatuses": [about]}
        self.objects["Pod", meta["name"]] = {
            "kind": "Pod",
            "metadata": meta,
            "spec": template["spec"],
            "status": status,
        }

    def delete(self, kind: str, name: str, deadline_s: float | None = 60) -> None:
        super().delete(kind, name, deadline_s)
        if kind == "Job":
            self.objects.pop(("Pod", f"{name}-x"), None)

    def events(self, kind: str, name: str) -> list[ClusterEvent]:
        return [ClusterEvent("1", kind, name, "Warning", reason, text) for reason, text in self.says]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def left(self) -> list[str]:
        return [name for kind, name in self.objects if kind in ("Job", "Pod")]

    def images(self) -> set[str]:
        return {job["spec"]["template"]["spec"]["containers"][0]["image"] for job in self.jobs}


@pytest.fixture
def probe(tmp_path: Path):
    (tmp_path / "m.yaml").write_text(with_tools("name: m\nsource: {hub: owner/model}\n"))

    def findings(cluster: FakeCluster, profile: Any = KUBERNETES, keys: StoreKeys | None = None) -> list[Finding]:
        gateways = Gateways(FakeHub(), MemoryStore(), cluster, None, None, None, store_keys=keys)  # type: ignore[arg-type]
        sleep = getattr(cluster, "sleep", lambda _: None)
        jobs = ProbeJobs(cluster, 120, sleep, lambda: getattr(cluster, "now", 0.0))
        found = probe_findings(profile, tmp_path, gateways, jobs, lambda _: None)
        assert getattr(cluster, "left", []) == []
        return found

    findings.models = tmp_path  # type: ignore[attr-defined]
    return findings


def bad(found: Sequence[Finding]) -> list[Finding]:
    return [f for f in found if f.level != "ok"]


def test_every_image_of_a_rollout_is_asked_for_and_what_pods_reach(probe: Any):
    cluster = Kubelet()

    found = probe(cluster)

    assert bad(found) == []
    assert {image.partition(":")[0] for image in cluster.images()} == {
        "vllm/vllm-openai", "genai-pipeline/strands-agent", "genai-pipeline/chat-ui"
    }  # fmt: skip
    said = [f.what for f in found]
    assert f"engines: their pods may read models/ of bucket genai at {S3}" in said
    assert f"agents: their pods may read and write sessions/genai-doctor/ of bucket genai at {S3}" in said
    assert f"agents: their pods reach the weather service at {WEATHER}" in said
    assert "a pipeline in this cluster: their pods reach the hub at http://hub" in said


def test_a_probe_buys_no_node_ends_by_itself_and_has_its_pods_account_and_policies(probe: Any):
    cluster = Kubelet()
    probe(cluster)

    for job in cluster.jobs:
        pod = job["spec"]["template"]["spec"]
        assert pod["nodeName"] == "n1"
        assert job["spec"]["activeDeadlineSeconds"] == 150
        assert job["spec"]["ttlSecondsAfterFinished"]
    templates = [job["spec"]["template"] for job in cluster.jobs]
    by_component = {t["metadata"]["labels"].get("app.kubernetes.io/component"): t["spec"] for t in templates}
    engine = by_component["engine"]
    assert engine["serviceAccountName"] == "genai-engine"
    assert engine["containers"][0]["envFrom"] == [{"secretRef": {"name": "store-access", "optional": True}}]
    assert by_component["agent"]["serviceAccountName"] == "genai-agent"
    assert "serviceAccountName" not in by_component["pipeline"]


PULL = 'Failed to pull image "x": rpc error: code = NotFound desc = failed to resolve reference: not found'


def test_an_image_that_the_registry_lacks_is_named_with_the_words_of_kubelet_and_without_waiting(probe: Any):
    def answer(container: dict[str, Any]) -> dict[str, Any]:
        return waiting("ErrImagePull", PULL) if "vllm" in container["image"] else all_is_well(container)

    cluster = Kubelet(answer, [("Failed", PULL), ("Failed", "Error: ErrImagePull")])

    (found,) = bad(probe(cluster))

    assert found.level == "fail"
    assert "m: on node n1: The registry has no image vllm/vllm-openai" in found.what
    assert PULL in found.what
    assert "serving.image" in found.remedy
    assert cluster.now == 0


def test_an_own_image_that_is_missing_leads_to_building_it_and_what_needs_it_is_not_tried(probe: Any):
    def answer(container: dict[str, Any]) -> dict[str, Any]:
        return waiting("ErrImagePull", PULL) if "strands" in container["image"] else all_is_well(container)

    found = bad(probe(Kubelet(answer)))

    (missing,) = [f for f in found if f.level == "fail"]
    assert "m-agent" in missing.what
    assert "Build it and push it" in missing.remedy
    assert [f.what.partition(":")[0] for f in found if f.level == "warn"] == [
        "engines", "agents", "a pipeline in this cluster"
    ]  # fmt: skip


def test_a_registry_that_is_down_and_a_long_pull_end_with_the_deadline(probe: Any):
    down = Kubelet(lambda _: waiting("ImagePullBackOff", "dial tcp: i/o timeout"))
    slow = Kubelet(lambda _: waiting("ContainerCreating"), [("Pulling", "Pulling image")])

    assert any("does not answer" in f.what and f.level == "fail" for f in probe(down))
    assert any("still pulls vllm/vllm-openai" in f.what and f.level == "warn" for f in probe(slow))
    assert 120 <= down.now <= 121


def test_a_job_whose_pod_is_refused_says_why(probe: Any):
    class Refusing(Kubelet):
        def run(self, job: Mapping[str, Any]) -> None:
            return

    cluster = Refusing(says=[("FailedCreate", 'pods "x" is forbidden: exceeded quota: q, requested: pods=1')])

    found = probe(cluster)

    assert {f.level for f in found} <= {"fail", "warn"}
    assert all("A ResourceQuota is exceeded" in f.what for f in found)
    assert cluster.now == 0


def answering(**said: Any) -> Answer:
    """`bucket` or an address with dots written as underscores -> what the pods say of it."""

    def answer(container: dict[str, Any]) -> dict[str, Any]:
        fine = all_is_well(container)
        text = fine["terminated"]["message"]
        return ended(json.dumps(json.loads(text) | said)) if text.startswith("{") else fine

    return answer


@pytest.mark.parametrize(
    ("said", "what", "remedy"),
    [
        (
            {S3: {"step": "name", "why": "Name or service not known"}},
            "do not know the name minio",
            "GENAI_PODS_S3_ENDPOINT",
        ),
        ({S3: {"step": "connection", "why": "timed out"}}, f"no connection to {S3}: timed out", "network policies"),
        ({S3: {"step": "answer", "why": "CERTIFICATE"}}, "does not answer pods as it should", "TLS"),
        (
            {"bucket": {"step": "list", "code": "AccessDenied", "why": "no"}},
            "may not list models/ of bucket genai",
            "Secret store-access",
        ),
        ({"bucket": {"step": "list", "code": "NoSuchBucket", "why": "no"}}, "there is no bucket genai", "GENAI_BUCKET"),
        ({WEATHER: {"step": "connection", "why": "refused"}}, f"no connection to {WEATHER}", "WEATHER_URL"),
    ],
)
def test_what_pods_do_not_reach_fails_with_the_step_and_the_remedy(probe: Any, said: Any, what: str, remedy: str):
    found = [f for f in probe(Kubelet(answering(**said))) if f.level == "fail"]

    assert found
    assert any(what in f.what for f in found)
    assert all(remedy in f.remedy for f in found)


def test_a_hub_that_pods_do_not_reach_matters_to_a_pipeline_in_the_cluster_only(probe: Any):
    (found,) = bad(probe(Kubelet(answering(**{"http://hub": {"step": "name", "why": "unknown"}}))))

    assert found.level == "warn"
    assert "elsewhere does not need it" in found.remedy


def test_nothing_staged_is_no_mistake(probe: Any):
    found = probe(Kubelet(answering(bucket={"step": "nothing to read"})))

    assert any("Nothing is staged yet" in f.what for f in found)
    assert bad(found) == []


def test_on_eks_denied_pods_lead_to_the_role_of_their_account(probe: Any):
    denied = Kubelet(answering(bucket={"step": "list", "code": "NoCredentialsError", "why": "none"}))
    eks = replace(KUBERNETES, name="eks", s3_endpoint=None)

    found = [f for f in probe(denied, eks) if f.level == "fail"]

    assert ["genai-engine" in found[0].remedy, "genai-agent" in found[1].remedy] == [True, True]
    assert all(
        container["envFrom"] == [] for job in denied.jobs for container in job["spec"]["template"]["spec"]["containers"]
    )


def test_before_the_first_rollout_the_secret_is_written_as_a_rollout_does_and_asked_again(probe: Any):
    class Fresh(Kubelet):
        def run(self, job: Mapping[str, Any]) -> None:
            there = ("Secret", "store-access") in self.objects
            none = {"step": "list", "code": "NoCredentialsError", "why": "Unable to locate credentials"}
            self.answer = all_is_well if there else answering(bucket=none)
            super().run(job)

    fresh = Fresh()
    found = probe(fresh, keys=StoreKeys("key", "secret"))

    assert bad(found) == []
    assert "secret" not in json.dumps([f.what for f in found] + fresh.jobs).replace("secretRef", "")
    assert len([f for f in probe(Fresh()) if f.level == "fail"]) == 2  # without keys there is none to write


@pytest.mark.parametrize(
    ("code", "own"), [("InvalidAccessKeyId", None), ("", None), ("NoCredentialsError", "agent-store")]
)
def test_a_secret_that_pods_have_or_that_is_not_the_pipelines_is_never_written(probe: Any, code: str, own: Any):
    said = {"step": "list", "code": code, "why": "no"} if code else {}

    def answer(container: dict[str, Any]) -> dict[str, Any]:
        from_own = container["envFrom"] == [{"secretRef": {"name": own, "optional": True}}]
        return answering(bucket=said)(container) if own is None or from_own else all_is_well(container)

    cluster = Kubelet(answer)
    probe(cluster, replace(KUBERNETES, agent_store_secret=own), StoreKeys("key", "secret"))

    assert ("Secret", "store-access") not in cluster.objects


def test_what_a_killed_probe_left_is_removed_by_the_next_one(probe: Any):
    cluster = Kubelet()
    meta = {"name": "genai-doctor-left-x", "labels": {**LABELS, JOB: "genai-doctor-left"}}
    cluster.objects["Pod", meta["name"]] = {"kind": "Pod", "metadata": meta, "spec": {}, "status": {}}
    cluster.objects["Job", "genai-doctor-left"] = {"kind": "Job", "metadata": {"name": "genai-doctor-left"}}

    probe(cluster)

    assert cluster.left == []


def test_an_interrupt_removes_the_jobs(probe: Any):
    class Interrupted(Kubelet):
        def sleep(self, seconds: float) -> None:
            raise KeyboardInterrupt

    cluster = Interrupted(lambda _: waiting("ContainerCreating"))

    with pytest.raises(KeyboardInterrupt):
        probe(cluster)

    assert cluster.jobs
    assert cluster.left == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"spec": {"unschedulable": True}}, "is cordoned"),
        ({"spec": {"providerID": "kwok://n1"}}, "simulated"),
        ({"status": {"conditions": [], "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "9"}}}, "is ready"),
    ],
)
def test_where_no_node_can_be_asked_it_is_said_and_nothing_is_made(probe: Any, change: Any, why: str):
    cluster = Kubelet()
    cluster.objects["Node", "n1"] |= change

    found = probe(cluster)

    assert cluster.jobs == []
    assert {f.level for f in found} == {"warn"}
    assert all(why in f.what for f in found)


def test_nodes_of_different_kinds_are_asked_and_of_one_kind_one(probe: Any):
    cluster = Kubelet()
    for name, arch in (("n2", "amd64"), ("n3", "arm64")):
        node = json.loads(json.dumps(NODE))
        node["metadata"] = {"name": name, "labels": {"kubernetes.io/arch": arch}}
        cluster.objects["Node", name] = node

    probe(cluster)

    assert {job["spec"]["template"]["spec"]["nodeName"] for job in cluster.jobs} == {"n1", "n3"}


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (AccessDenied("We may not patch jobs.batch.", "Ask for the Role."), "genai render --rbac"),
        (ClusterUnavailable("The API did not answer.", "Check it."), "Check it."),
    ],
)
def test_a_cluster_that_takes_no_job_is_said(probe: Any, error: Exception, remedy: str):
    class Denied(Kubelet):
        def apply(self, objects: Sequence[Mapping[str, Any]], take_back: bool = False) -> list[Applied]:
            raise error

    (found,) = probe(Denied())

    assert (found.level, found.what) == ("fail", str(error).partition(" Ask")[0].partition(" Check")[0])
    assert remedy in found.remedy


def test_without_a_valid_model_the_chat_page_is_asked_for_alone(probe: Any):
    (probe.models / "m.yaml").write_text("name: m\nsourc: {}\n")
    cluster = Kubelet()

    probe(cluster)

    assert {image.partition(":")[0] for image in cluster.images()} == {"genai-pipeline/chat-ui"}
