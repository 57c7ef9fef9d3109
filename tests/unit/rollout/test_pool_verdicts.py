import copy

import pytest

from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.abc import Applied, Difference
from genai_pipeline.k8s.render import render_engine, render_node_pools
from genai_pipeline.rollout.pools.instance_types import packaged
from genai_pipeline.rollout.pools.pool_verdicts import judge_accepted, judge_gpu_fence, judge_selectors
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import EKS

GPU = model_with_tools("name: big\nsource: {hub: a/b}\nserving: {gpu: {instance-family: p5}}\n", "f")
CPU = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "f")

KNOWN = packaged("us-east-1")


@pytest.fixture
def pools():
    return render_node_pools(EKS, [GPU, CPU])


def deployment(spec):
    return render_engine(spec, Release.of(spec, "a" * 40), EKS)[0]


def gpu_pool(pools):
    return next(p for p in pools if p["metadata"]["name"] == "gpu")


def test_our_own_pools_are_fenced_and_host_our_own_pods(pools):
    assert judge_gpu_fence(pools, KNOWN).passed
    assert judge_selectors(pools, [deployment(GPU), deployment(CPU)], KNOWN).passed


def test_a_gpu_pool_without_the_taint_is_found(pools):
    del gpu_pool(pools)["spec"]["template"]["spec"]["taints"]

    verdict = judge_gpu_fence(pools, KNOWN)

    assert not verdict.passed
    assert "gpu: GPU nodes without the taint" in verdict.summary


def test_a_taint_that_only_prefers_is_no_fence(pools):
    gpu_pool(pools)["spec"]["template"]["spec"]["taints"][0]["effect"] = "PreferNoSchedule"

    assert not judge_gpu_fence(pools, KNOWN).passed


def test_a_pod_that_selects_a_family_no_pool_offers_is_found(pools):
    pod = copy.deepcopy(deployment(GPU))
    pod["spec"]["template"]["spec"]["nodeSelector"]["eks.amazonaws.com/instance-family"] = "g99"

    verdict = judge_selectors(pools, [pod], KNOWN)

    assert not verdict.passed
    assert "No pool can host big-" in verdict.summary


def test_a_gpu_pod_without_its_toleration_is_found(pools):
    pod = copy.deepcopy(deployment(GPU))
    del pod["spec"]["template"]["spec"]["tolerations"]

    assert not judge_selectors(pools, [pod], KNOWN).passed


def test_a_field_that_the_api_dropped_is_found():
    applied = [Applied("NodePool", "gpu", "configured")]

    assert judge_accepted(applied, []).passed
    assert not judge_accepted(applied, [Difference("NodePool", "gpu", "spec.limits", "2", None)]).passed


def test_the_gpu_limit_leaves_room_for_a_surge(pools):
    assert int(gpu_pool(pools)["spec"]["limits"]["nvidia.com/gpu"]) >= 2


@pytest.mark.parametrize("resource", ["nvidia.com/mig-1g.10gb", "amd.com/gpu"])
def test_a_resource_that_auto_modes_nodes_do_not_offer_finds_no_pool(resource):
    spec = model_with_tools(f"name: big\nsource: {{hub: a/b}}\nserving: {{gpu: {{resource: {resource}}}}}\n", "f")

    assert not judge_selectors(render_node_pools(EKS, [spec]), [deployment(spec)], KNOWN).passed


def test_an_amd_gpu_is_not_the_resource_that_an_engine_requests(pools):
    amd = model_with_tools("name: big\nsource: {hub: a/b}\nserving: {gpu: {instance-family: g4ad}}\n", "f")
    nvidia = model_with_tools("name: big\nsource: {hub: a/b}\nserving: {gpu: {instance-family: g4dn}}\n", "f")

    assert judge_selectors(render_node_pools(EKS, [nvidia]), [deployment(nvidia)], KNOWN).passed
    verdict = judge_selectors(render_node_pools(EKS, [amd]), [deployment(amd)], KNOWN)

    assert not verdict.passed
    assert "No pool can host big-" in verdict.summary
