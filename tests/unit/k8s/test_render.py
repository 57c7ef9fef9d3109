import pytest

from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import (
    release_labels,
    render_agent,
    render_chat_ui,
    render_engine,
    render_namespace,
    render_node_pools,
    render_stable,
)
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import EKS, KUBERNETES, PROFILE
from tests.unit.k8s.everything import SLICED

SPEC = model_with_tools(
    """
name: tiny
source: {hub: a/b}
serving:
  args: {max-model-len: 64, enforce-eager: true, disable-log-stats: false, model-loader-extra-config: {concurrency: 4}}
  env: {TRICKY: 'a "quoted" & $(x): yes'}
""",
    "f",
)
RELEASE = Release.of(SPEC, "a" * 40)


def container(objects):
    return objects[0]["spec"]["template"]["spec"]["containers"][0]


def everything():
    return [
        *render_namespace(PROFILE),
        *render_node_pools(EKS, [SPEC]),
        *render_engine(SPEC, RELEASE, PROFILE),
        *render_agent(SPEC, RELEASE, PROFILE, "http://engine"),
        *render_stable(RELEASE, PROFILE, "engine"),
        *render_stable(RELEASE, PROFILE, "agent"),
        *render_chat_ui(PROFILE, [SPEC]),
    ]


def test_rendering_is_stable():
    assert everything() == everything()


def test_the_model_files_args_reach_vllm():
    args = container(render_engine(SPEC, RELEASE, PROFILE))["args"]

    assert f"--model=s3://genai/models/tiny/{'a' * 40}/" in args
    assert "--max-model-len=64" in args
    assert "--enforce-eager" in args
    assert '--model-loader-extra-config={"concurrency": 4}' in args
    assert not [a for a in args if "disable-log" in a]


def test_a_release_is_served_under_a_name_of_its_own_too():
    args = container(render_engine(SPEC, RELEASE, PROFILE))["args"]

    at = args.index("--served-model-name")
    assert args[at + 1 : at + 3] == ["tiny", f"tiny@{RELEASE.id}"]


def test_values_with_quotes_survive_the_template():
    env = {e["name"]: e.get("value") for e in container(render_engine(SPEC, RELEASE, PROFILE))["env"]}

    assert env["TRICKY"] == 'a "quoted" & $(x): yes'


@pytest.mark.parametrize("component", ["engine", "agent"])
def test_services_select_exactly_their_release(component):
    rendered = (
        render_engine(SPEC, RELEASE, PROFILE) if component == "engine" else render_agent(SPEC, RELEASE, PROFILE, "u")
    )
    pods = rendered[0]["spec"]["template"]["metadata"]["labels"]

    assert rendered[1]["spec"]["selector"] == release_labels(RELEASE, component)
    assert render_stable(RELEASE, PROFILE, component)[0]["spec"]["selector"].items() <= pods.items()


def test_no_secret_is_ever_rendered():
    assert not [o for o in everything() if o["kind"] == "Secret"]


def test_every_object_says_who_manages_it():
    for rendered in everything():
        assert rendered["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "genai-pipeline", rendered


def test_pods_ask_for_nothing_that_restricted_pod_security_refuses():
    for rendered in everything():
        if rendered["kind"] == "Deployment":
            pod = rendered["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            for c in pod["containers"]:
                assert c["securityContext"]["allowPrivilegeEscalation"] is False
                assert c["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_gpu_is_requested_tolerated_and_selected():
    spec = model_with_tools("name: big\nsource: {hub: a/b}\nserving: {gpu: {instance-family: g6e, count: 2}}\n", "f")
    rendered = render_engine(spec, Release.of(spec, "a" * 40), EKS)
    pod = rendered[0]["spec"]["template"]["spec"]

    assert container(rendered)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert pod["nodeSelector"] == {"eks.amazonaws.com/instance-family": "g6e"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert "runtimeClassName" not in pod


@pytest.mark.parametrize("profile", [KUBERNETES, PROFILE])
def test_outside_eks_resource_and_toleration_alone_choose_the_node(profile):
    spec = model_with_tools("name: big\nsource: {hub: a/b}\nserving: {gpu: {instance-family: g6e, count: 2}}\n", "f")
    rendered = render_engine(spec, Release.of(spec, "a" * 40), profile)
    pod = rendered[0]["spec"]["template"]["spec"]

    assert container(rendered)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "nodeSelector" not in pod
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


@pytest.mark.parametrize(("profile", "family"), [(KUBERNETES, {}), (EKS, {"eks.amazonaws.com/instance-family": "g6e"})])
def test_what_the_model_file_says_of_its_nodes_reaches_the_pod(profile, family):
    rendered = render_engine(SLICED, Release.of(SLICED, "a" * 40), profile)
    pod = rendered[0]["spec"]["template"]["spec"]

    assert pod["nodeSelector"] == family | {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "nvidia.com/mig-1g.10gb", "operator": "Exists", "effect": "NoSchedule"},
        {"operator": "Equal", "key": "sku", "value": "gpu", "effect": "NoSchedule"},
        {"operator": "Exists", "key": "dedicated"},
    ]
    for part in ("requests", "limits"):
        assert container(rendered)["resources"][part]["nvidia.com/mig-1g.10gb"] == "1"
        assert "nvidia.com/gpu" not in container(rendered)["resources"][part]


@pytest.mark.parametrize(("agent", "tokens"), [("", []), ("agent: {max_tokens: 4096}\n", ["4096"])])
def test_the_agent_asks_for_as_many_tokens_as_the_model_file_says(agent, tokens):
    spec = model_with_tools(f"name: tiny\nsource: {{hub: owner/tiny}}\n{agent}", "tiny.yaml")
    release = Release.of(spec, "a" * 40)

    env = render_agent(spec, release, PROFILE, "u")[0]["spec"]["template"]["spec"]["containers"][0]["env"]

    assert [e["value"] for e in env if e["name"] == "MODEL_MAX_TOKENS"] == tokens
    assert release.id == Release.of(model_with_tools("name: tiny\nsource: {hub: owner/tiny}\n", "t"), "a" * 40).id
