from dataclasses import replace

import pytest

from genai_pipeline.core.errors import ClusterUnavailable
from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.rollout.pools.node_probe import PROBE_LABEL, NodeProbe, probe_answer, probe_pod
from tests.fakes.world import EKS, FakeCluster

GPU = Gpu.model_validate({"instance-family": "g6e", "count": 2})

SCHEDULER_NO = ("FailedScheduling", "0/1 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: true}.")
KARPENTER_NO = ("FailedScheduling", "Failed to schedule pod, did not tolerate taint (taint=nvidia.com/gpu=true)")
FULL = ("FailedScheduling", "Failed to schedule pod, all available instance types exceed limits for nodepool: gpu")
NOMINATED = ("Nominated", "Pod should schedule on: nodeclaim/gpu-x")
SCHEDULED = ("Scheduled", "Successfully assigned genai/probe to node-1")


class Talking(FakeCluster):
    """Says one more of `script` at every look at the events, and lives by a clock of its own."""

    def __init__(self, *script, breaks_after=None):
        super().__init__()
        self.script, self.looks, self.now, self.breaks_after = script, 0, 0.0, breaks_after

    def events(self, kind, name):
        self.looks += 1
        if self.breaks_after is not None and self.looks > self.breaks_after:
            raise ClusterUnavailable("The API did not answer.")
        said = self.script[: self.looks]
        return [ClusterEvent("2026-01-01T00:00:00Z", kind, name, "Normal", r, m) for r, m in said if r]

    def sleep(self, seconds):
        self.now += seconds

    @property
    def probes(self):
        return [p["metadata"]["name"] for p in self.list("Pod") if PROBE_LABEL in p["metadata"]["labels"]]


def probe(cluster):
    return NodeProbe(cluster, EKS, 30, 60, cluster.sleep, lambda: cluster.now)


def test_a_pod_that_scheduler_and_karpenter_keep_off_passes_with_karpenters_words():
    cluster = Talking(SCHEDULER_NO, KARPENTER_NO)

    verdict = probe(cluster).fence("gpu")

    assert verdict.passed
    assert "did not tolerate taint" in verdict.summary
    assert [row["message"] for row in verdict.evidence["events"]] == [SCHEDULER_NO[1], KARPENTER_NO[1]]


@pytest.mark.parametrize(("said", "why"), [(NOMINATED, "was promised a node"), (SCHEDULED, "landed on node-1")])
def test_a_pod_that_gets_a_node_without_the_toleration_fails(said, why):
    verdict = probe(Talking(SCHEDULER_NO, said)).fence("gpu")

    assert verdict.outcome is Outcome.FAILED
    assert why in verdict.summary


def test_a_karpenter_that_says_nothing_proves_nothing():
    cluster = Talking(SCHEDULER_NO)

    verdict = probe(cluster).fence("gpu")

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert cluster.now == pytest.approx(30, abs=1)


def test_a_new_node_is_distinguished_from_one_that_ran():
    new = probe(Talking(SCHEDULER_NO, NOMINATED, ("", ""), SCHEDULED)).provision(GPU)
    there = probe(Talking(SCHEDULED)).provision(GPU)

    assert new.passed
    assert "2 GPU of g6e: a new node came, node-1, after 3 s." in new.summary
    assert "it fits on a node that runs" in there.summary


def test_a_no_that_stands_fails_before_the_deadline():
    cluster = Talking(SCHEDULER_NO, FULL)

    verdict = probe(cluster).provision(GPU)

    assert verdict.outcome is Outcome.FAILED
    assert "exceed limits for nodepool: gpu" in verdict.summary
    assert cluster.now < 15


def test_a_no_that_karpenter_takes_back_is_none():
    said = [FULL, *[("", "")] * 5, NOMINATED, *[("", "")] * 10, SCHEDULED]

    assert probe(Talking(*said)).provision(GPU).passed


def test_a_promised_node_that_never_comes_is_inconclusive():
    verdict = probe(Talking(NOMINATED)).provision(GPU)

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "nodeclaim/gpu-x, but it was not there after 60 s" in verdict.summary


def test_silence_is_inconclusive():
    assert probe(Talking()).provision(GPU).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("cluster", [Talking(SCHEDULED), Talking(KARPENTER_NO, breaks_after=0)])
def test_the_probe_is_removed_whatever_happens(cluster):
    try:
        probe(cluster).provision(GPU)
    except ClusterUnavailable:
        assert cluster.breaks_after == 0

    assert cluster.probes == []
    assert len([line for line in cluster.log if line.startswith("delete Pod genai-probe-gpu-g6e-2-")]) == 1


def test_a_probe_left_over_is_taken_over_and_an_ended_one_removed():
    cluster = Talking(SCHEDULED)
    cluster.apply([probe_pod(EKS, GPU, "ended"), probe_pod(EKS, GPU, "left"), probe_pod(EKS, GPU, "more")])
    cluster.objects[("Pod", "ended")]["status"] = {"phase": "Failed"}

    probe(cluster).provision(GPU)

    assert cluster.probes == []
    assert sorted(cluster.log) == ["delete Pod ended", "delete Pod left", "delete Pod more"]


def test_two_probes_never_have_the_same_name():
    cluster = Talking(SCHEDULED)
    for _ in range(2):
        probe(cluster).provision(GPU)

    assert len(set(cluster.log)) == 2


def test_the_probe_asks_for_what_an_engine_asks_and_ends_by_itself():
    pod = probe_pod(EKS, GPU, "p", 600)["spec"]

    assert pod["nodeSelector"] == {"eks.amazonaws.com/instance-family": "g6e"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert pod["activeDeadlineSeconds"] == 600
    assert pod["automountServiceAccountToken"] is False


def test_the_probe_selects_and_tolerates_what_the_model_file_says_and_is_no_other_models_probe():
    gpu = Gpu.model_validate({"selector": {"zone": "a"}, "tolerations": [{"key": "sku", "operator": "Exists"}]})

    probe_, plain = probe_pod(EKS, gpu, "p"), probe_pod(EKS, Gpu(), "p")

    assert probe_["spec"]["nodeSelector"] == {"eks.amazonaws.com/instance-family": "g6e", "zone": "a"}
    assert [t["key"] for t in probe_["spec"]["tolerations"]] == ["nvidia.com/gpu", "sku"]
    assert probe_["metadata"]["labels"][PROBE_LABEL] != plain["metadata"]["labels"][PROBE_LABEL] == "gpu-g6e-1"


def test_the_newest_word_counts():
    events = [ClusterEvent("t", "Pod", "p", "Warning", "FailedScheduling", m) for m in ("0/1 a", "0/2 b")]

    assert probe_answer(events).scheduler == "0/2 b"
    assert probe_answer([]) == replace(probe_answer([]), node="", karpenter="")
