"""Pools, policies and monitoring: what they say for the models and the profile."""

import dataclasses
import json

import pytest

from genai_pipeline.k8s.load_pod import render_load_pod
from genai_pipeline.k8s.network import OUTSIDE, egress_to, store_ports
from genai_pipeline.k8s.pools import gpu_limit
from genai_pipeline.k8s.render import (
    render_guards,
    render_monitoring,
    render_node_pools,
    render_platform,
    render_rbac,
)
from tests.fakes.model_texts import model_with_tools
from tests.unit.k8s.everything import LARGE, MODELS, PROFILES, RESERVED, SMALL, everything, release_of

EKS, KUBERNETES = PROFILES["eks"], PROFILES["kubernetes"]
NAMESPACE = "kubernetes.io/metadata.name"


def model(gpu, replicas="{}"):
    return model_with_tools(f"name: m\nsource: {{hub: a/b}}\nserving: {{gpu: {gpu}, replicas: {replicas}}}\n", "f")


def pool(objects, name):
    return next(o for o in objects if (o["kind"], o["metadata"]["name"]) == ("NodePool", name))


def requirements(objects, name):
    return {r["key"]: r["values"] for r in pool(objects, name)["spec"]["template"]["spec"]["requirements"]}


@pytest.mark.parametrize(
    ("specs", "limit"),
    [
        ([], 2),
        ([SMALL], 2),
        ([model("{}")], 2),
        ([model("{}", "{min: 2, max: 4}")], 8),
        ([model("{count: 2}")], 8),
        ([model("{instance-family: p5}")], 16),
        ([model("{count: 12}")], 24),
        ([model("{}"), model("{count: 4}")], 9),
    ],
)
def test_the_gpu_limit_counts_whole_nodes_and_one_rollout_beside_all_that_serves(specs, limit):
    assert gpu_limit(specs) == limit


def test_the_gpu_pool_offers_the_families_of_the_models_and_g6e_where_there_is_none():
    family = "eks.amazonaws.com/instance-family"

    assert requirements(render_node_pools(EKS, MODELS), "gpu")[family] == ["g6e", "p5"]
    assert requirements(render_node_pools(EKS, [SMALL]), "gpu")[family] == ["g6e"]


def test_reserved_capacity_is_offered_and_spot_is_not():
    for name, types in (("gpu", ["reserved", "on-demand"]), ("general", ["on-demand"]), ("system", ["on-demand"])):
        assert requirements(render_node_pools(EKS, MODELS), name)["karpenter.sh/capacity-type"] == types


def test_a_class_of_our_own_is_made_where_reservations_are_named():
    (node_class, *_) = objects = render_node_pools(EKS, [LARGE, RESERVED, LARGE])

    assert (node_class["kind"], node_class["metadata"]["name"]) == ("NodeClass", "genai")
    terms = node_class["spec"]["capacityReservationSelectorTerms"]
    assert terms == [{"id": "cr-0123abcd"}, {"tags": {"team": "ml"}}]
    assert {"role", "subnetSelectorTerms", "securityGroupSelectorTerms"} <= node_class["spec"].keys()
    assert pool(objects, "gpu")["spec"]["template"]["spec"]["nodeClassRef"]["name"] == "genai"
    assert pool(objects, "general")["spec"]["template"]["spec"]["nodeClassRef"]["name"] == "default"


@pytest.mark.parametrize(("profile", "specs"), [(EKS, [SMALL]), (dataclasses.replace(EKS, node_role=None), [LARGE])])
def test_auto_modes_own_class_is_used_where_none_is_needed_or_none_can_be_written(profile, specs):
    objects = render_node_pools(profile, specs)

    assert [o["kind"] for o in objects] == ["NodePool"] * 3
    assert pool(objects, "gpu")["spec"]["template"]["spec"]["nodeClassRef"]["name"] == "default"


@pytest.mark.parametrize("profile", [KUBERNETES, PROFILES["local"]])
def test_outside_eks_there_is_no_pool_and_no_word_of_eks(profile):
    assert render_node_pools(profile, MODELS) == []
    assert [o for o in everything(profile) if "eks.amazonaws.com" in json.dumps(o)] == []


def granted(profile, resource):
    rules = [rule for o in render_rbac(profile) for rule in o.get("rules", [])]
    return sorted({verb for rule in rules if resource in rule["resources"] for verb in rule["verbs"]})


def test_outside_eks_the_role_makes_no_pools():
    assert granted(KUBERNETES, "nodepools") == ["list"]
    assert granted(KUBERNETES, "nodeclasses") == []
    assert granted(EKS, "nodepools") == ["create", "get", "list", "patch"]


def test_the_role_makes_pods_where_a_load_or_a_probe_needs_one():
    made = ["create", "delete", "list", "patch", "watch"]
    from_the_run = {"load_from": "run"}

    assert granted(KUBERNETES, "pods") == granted(EKS, "pods") == made
    assert granted(dataclasses.replace(EKS, **from_the_run), "pods") == made
    assert granted(dataclasses.replace(KUBERNETES, **from_the_run), "pods") == ["list", "watch"]


def test_a_load_test_reaches_engines_and_nothing_else():
    policies = {o["metadata"]["name"]: o["spec"] for o in render_platform(KUBERNETES) if o["kind"] == "NetworkPolicy"}
    pod = render_load_pod(release_of(SMALL), KUBERNETES, {}, 60)
    let_in = [peer for rule in policies["engine"]["ingress"] for peer in rule["from"]]
    named = [e["values"] for peer in let_in for e in peer.get("podSelector", {}).get("matchExpressions", [])]

    assert policies["load-test"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert [rule["ports"][0]["port"] for rule in policies["load-test"]["egress"]] == [53, 8000]
    assert "ingress" not in policies["load-test"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] in named[0]


@pytest.mark.parametrize(
    ("endpoint", "ports"),
    [
        (None, [443]),
        ("https://minio.example", [443]),
        ("http://minio.example", [80, 443]),
        ("http://s3.store.svc:9000", [443, 9000]),
    ],
)
def test_an_engine_reaches_s3_where_it_answers(endpoint, ports):
    assert store_ports(dataclasses.replace(EKS, s3_endpoint=endpoint)) == ports


def policy(objects, name):
    return next(o["spec"] for o in objects if (o["kind"], o["metadata"]["name"]) == ("NetworkPolicy", name))


def test_the_api_server_is_let_in_from_the_addresses_that_are_given_and_no_others():
    def blocks(profile):
        return [
            p["ipBlock"]["cidr"]
            for p in policy(render_platform(profile), "engine")["ingress"][0]["from"]
            if "ipBlock" in p
        ]

    assert blocks(EKS) == ["10.1.0.0/16"]
    assert blocks(KUBERNETES) == []


def test_engines_may_ask_dns_s3_and_the_identity_agent_only():
    egress = policy(render_platform(KUBERNETES), "engine")["egress"]

    assert [[p["port"] for p in rule["ports"]] for rule in egress] == [[53, 53], [443, 9000], [80]]
    assert egress[2]["to"] == [{"ipBlock": {"cidr": "169.254.170.23/32"}}, {"ipBlock": {"cidr": "fd00:ec2::23/128"}}]


def test_agents_may_ask_dns_engines_the_weather_s3_traces_and_the_identity_agent_only():
    egress = policy(render_platform(EKS), "agent")["egress"]

    assert [[p["port"] for p in rule["ports"]] for rule in egress] == [[53, 53], [8000], [80], [443], [4318], [80]]
    assert egress[1]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "engine"


@pytest.mark.parametrize(
    ("url", "to", "port"),
    [
        ("https://wttr.in", list(OUTSIDE), 443),
        ("http://10.0.0.7:8592/x", [{"ipBlock": {"cidr": "10.0.0.7/32"}}], 8592),
        ("http://s3.store.svc:9000", [{"namespaceSelector": {"matchLabels": {NAMESPACE: "store"}}}], 9000),
        ("http://s3.store.svc.cluster.local", [{"namespaceSelector": {"matchLabels": {NAMESPACE: "store"}}}], 80),
        ("http://collector:4318", [{"podSelector": {}}], 4318),
    ],
)
def test_a_rule_is_as_narrow_as_its_address_tells(url, to, port):
    assert egress_to(url) == {"to": to, "ports": [{"protocol": "TCP", "port": port}]}


def test_a_scraped_pod_is_known_by_the_name_of_its_releases_service():
    release = release_of(SMALL)
    names = {}
    for monitor in render_monitoring(EKS):
        (relabel,) = [
            r for r in monitor["spec"]["podMetricsEndpoints"][0]["relabelings"] if r["targetLabel"] == "service"
        ]
        names[monitor["metadata"]["name"]] = relabel["separator"].join([release.model, release.id])

    of_engine = {"genai-engine": release.object_name, "genai-ray": release.object_name}
    assert names == of_engine | {"genai-agent": release.agent_object_name}


def test_the_disruption_budget_follows_the_traffic():
    first, second = (render_guards(release, EKS)[0] for release in (release_of(SMALL), release_of(LARGE)))

    assert first["metadata"]["name"] == "tiny"
    assert first["spec"]["selector"]["matchLabels"]["genai-pipeline/release"] == release_of(SMALL).id
    assert second["spec"]["selector"] != first["spec"]["selector"]
