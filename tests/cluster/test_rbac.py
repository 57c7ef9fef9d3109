"""The pipeline works with the Role that we ship and nothing more; the engine's account can do nothing.

Each verb is taken away once, and the operation of the pipeline that needs it is refused with that verb's name.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

import pytest
from kubernetes import client

from genai_pipeline.core.errors import Refused
from genai_pipeline.gateways.cluster.kubernetes.kubernetes_cluster import KubernetesCluster
from genai_pipeline.k8s.render import render_rbac, render_store_access
from tests.cluster.identities import kubeconfig_of, kubectl, rules_of
from tests.cluster.machine.cluster import until
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.cluster.machine.objects import api
from tests.cluster.pipeline_operations import ACCOUNT, USES, World, baseline
from tests.unit.k8s.everything import PROFILES, Object

pytestmark = pytest.mark.needs("karpenter")

EVERYBODY = {
    "create selfsubjectaccessreviews",
    "create selfsubjectrulesreviews",
    "create selfsubjectreviews",
}
"""What Kubernetes lets every identity do: ask what it may do."""


@pytest.fixture(scope="module")
def world(simulated, tmp_path_factory) -> Iterator[World]:
    """Everything is applied by the pipeline itself, so that what is there was made with the Role."""
    namespace = f"rbac-{tmp_path_factory.mktemp('rbac').stat().st_ino:x}"
    admin = simulated.kubeconfig
    profile = dataclasses.replace(PROFILES["eks"], namespace=namespace)
    create_namespace(admin, namespace)
    rbac = render_rbac(profile)
    kubectl(
        admin, "apply", "--server-side", "--force-conflicts", "--field-manager=genai-pipeline", "-f", "-", given=rbac
    )
    kubeconfig = kubeconfig_of(admin, namespace, ACCOUNT, tmp_path_factory.mktemp("kubeconfig"))
    cluster = KubernetesCluster(namespace, kubeconfig, access="proxy")
    made = World(admin, namespace, profile, kubeconfig, cluster, rbac)
    try:
        until(lambda: made.allowed("list", "", "nodes"), "the Role", 20)
        cluster.apply(baseline(made))
        kubectl(admin, "apply", "--server-side", "-f", "-", given=[made.renamed("NodePool"), made.renamed("NodeClass")])
        until(lambda: cluster.list("Pod"), "the engine's pod", 30)
        yield made
    finally:
        cluster.close()
        for kind in ("nodepools", "nodeclasses"):
            kubectl(admin, "delete", kind, namespace, "--ignore-not-found", "--wait=false")
        for kind in ("clusterrole", "clusterrolebinding"):
            kubectl(admin, "delete", kind, f"genai-pipeline-{namespace}", "--ignore-not-found")
        delete_namespace(admin, namespace)


def granted(rbac: list[Object]) -> list[tuple[str, str]]:
    """Every resource and verb of our Role and ClusterRole."""
    roles = [o for o in rbac if o["kind"] in ("Role", "ClusterRole")]
    return [(r, v) for role in roles for rule in role["rules"] for r in rule["resources"] for v in rule["verbs"]]


def without(rbac: list[Object], resource: str, verb: str) -> tuple[list[Object], Object]:
    """The roles less one verb of one resource, and the rule that it was in."""
    changed: list[Object] = []
    taken: Object = {}
    for role in copy.deepcopy([o for o in rbac if o["kind"] in ("Role", "ClusterRole")]):
        rules: list[Object] = []
        for rule in role["rules"]:
            if resource in rule["resources"] and verb in rule["verbs"]:
                taken = rule
                left = [v for v in rule["verbs"] if v != verb]
                others = [r for r in rule["resources"] if r != resource]
                rules += [rule | {"resources": [resource], "verbs": left}] * bool(left)
                rules += [rule | {"resources": others}] * bool(others)
            else:
                rules.append(rule)
        changed.append(role | {"rules": rules})
    return changed, taken


def put_roles(world: World, roles: list[Object]) -> None:
    with api(world.admin) as connection:
        rbac = client.RbacAuthorizationV1Api(connection)
        for role in roles:
            name = role["metadata"]["name"]
            if role["kind"] == "Role":
                rbac.replace_namespaced_role(name, world.namespace, role)
            else:
                rbac.replace_cluster_role(name, role)


def test_every_verb_of_the_role_is_one_that_the_pipeline_uses():
    verbs = granted(render_rbac(PROFILES["eks"]))

    assert sorted(verbs) == sorted(USES)


@pytest.mark.parametrize(("resource", "verb"), USES, ids=[f"{v} {r}" for r, v in USES])
def test_without_the_verb_the_pipeline_is_refused_and_with_it_it_is_not(world, resource, verb):
    roles, rule = without(world.rules, resource, verb)
    group, name = rule["apiGroups"][0], next(iter(rule.get("resourceNames", [])), "")
    put_roles(world, roles)
    try:
        until(lambda: not world.allowed(verb, group, resource, name), "the Role without the verb", 20)
        # A wait may end on its own before its watch is answered: then it is asked again.
        refusal = until(lambda: refusal_of(USES[resource, verb], world), "a refusal", 20)
    finally:
        put_roles(world, [o for o in world.rules if o["kind"] in ("Role", "ClusterRole")])
    until(lambda: world.allowed(verb, group, resource, name), "the whole Role", 20)

    assert f'cannot {verb} resource "{resource}"' in refusal
    USES[resource, verb](world)


def refusal_of(use, world) -> str:
    """What the pipeline is told; empty when it is not refused."""
    try:
        use(world)
    except Refused as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("another Secret", ("get", "secret", "store-access")),
        ("a Secret's list", ("get", "secrets")),
        ("a shell", ("exec", "some-pod", "--", "id")),
        ("a Role", ("create", "role", "more", "--verb=get", "--resource=secrets")),
        ("another namespace", ("create", "namespace", "more")),
        ("a token", ("create", "token", "genai-engine")),
        ("somebody else's pods", ("delete", "pod", "some-pod", "-n", "kube-system")),
        ("somebody else's Deployment", ("scale", "deployment", "coredns", "--replicas=0", "-n", "kube-system")),
    ],
)
def test_what_the_pipeline_has_no_business_with_is_refused(world, kind, words):
    said = kubectl(world.kubeconfig, "-n", world.namespace, *words, check=False)

    assert said.returncode
    assert "orbidden" in said.stderr, kind


def test_a_secret_by_another_name_is_refused(world):
    (secret,) = render_store_access(world.profile, "key", "secret")
    secret["metadata"] = secret["metadata"] | {"name": "of-somebody-else"}

    with pytest.raises(Refused, match='resource "secrets"'):
        world.cluster.apply([secret])


@pytest.mark.parametrize("account", ["genai-engine", "genai-agent"])
def test_the_accounts_of_our_pods_can_do_nothing(world, tmp_path, account):
    nobody = kubeconfig_of(world.admin, world.namespace, "default", tmp_path)
    theirs = kubeconfig_of(world.admin, world.namespace, account, tmp_path)

    resources, paths = rules_of(theirs, world.namespace)

    assert resources <= EVERYBODY
    assert paths == rules_of(nobody, world.namespace)[1]
    for words in (("get", "pods"), ("get", "secrets"), ("get", "nodes"), ("get", "configmaps", "-A")):
        assert "orbidden" in kubectl(theirs, "-n", world.namespace, *words, check=False).stderr


def test_an_account_that_someone_gave_rights_would_be_seen(world, tmp_path):
    kubectl(world.admin, "create", "serviceaccount", "stronger", "-n", world.namespace)
    kubectl(
        world.admin, "create", "rolebinding", "stronger", "-n", world.namespace,
        f"--role={ACCOUNT}", f"--serviceaccount={world.namespace}:stronger",
    )  # fmt: skip
    stronger = kubeconfig_of(world.admin, world.namespace, "stronger", tmp_path)

    until(lambda: not rules_of(stronger, world.namespace)[0] <= EVERYBODY, "the binding", 20)
