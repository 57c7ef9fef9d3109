import pytest

from genai_pipeline.core.model_file import parse_model
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
from tests.fakes.world import PROFILE

SPEC = parse_model(
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
        *render_node_pools(PROFILE, [SPEC]),
        *render_engine(SPEC, RELEASE, PROFILE),
        *render_agent(SPEC, RELEASE, PROFILE, "http://engine"),
        *render_stable(RELEASE, PROFILE, "engine"),
        *render_stable(RELEASE, PROFILE, "agent"),
        *render_chat_ui(PROFILE, {"tiny": "http://tiny"}),
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
    spec = parse_model("name: big\nsource: {hub: a/b}\nserving: {gpu: {instance-family: g6e, count: 2}}\n", "f")
    rendered = render_engine(spec, Release.of(spec, "a" * 40), PROFILE)
    pod = rendered[0]["spec"]["template"]["spec"]

    assert container(rendered)["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert pod["nodeSelector"] == {"eks.amazonaws.com/instance-family": "g6e"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"


@pytest.mark.parametrize(("agent", "tokens"), [("", []), ("agent: {max_tokens: 4096}\n", ["4096"])])
def test_the_agent_asks_for_as_many_tokens_as_the_model_file_says(agent, tokens):
    spec = parse_model(f"name: tiny\nsource: {{hub: owner/tiny}}\n{agent}", "tiny.yaml")
    release = Release.of(spec, "a" * 40)

    env = render_agent(spec, release, PROFILE, "u")[0]["spec"]["template"]["spec"]["containers"][0]["env"]

    assert [e["value"] for e in env if e["name"] == "MODEL_MAX_TOKENS"] == tokens
    assert release.id == Release.of(parse_model("name: tiny\nsource: {hub: owner/tiny}\n", "t"), "a" * 40).id
