"""Open WebUI as the chat front end: which models it knows, and by what it is started again."""

import json
from dataclasses import replace

import pytest

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.profile import Profile
from genai_pipeline.k8s.render import (
    render_chat_account,
    render_chat_ui,
    render_platform,
    render_rbac,
    service_url,
    stable_name,
)
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import EKS, PROFILE
from tests.unit.k8s.everything import find_in

WEATHER = model_with_tools("name: weather\nsource: {hub: a/b}\n", "f")
TALKER = parse_model("name: talker\nsource: {hub: a/b}\nagent: none\n", "f")
WRITER = parse_model("name: writer\nsource: {hub: a/b}\ntask: completion\n", "f")
ALL = [WEATHER, TALKER, WRITER]
LAPTOP = replace(PROFILE, chat="open-webui", chat_secret="open-webui")
CLUSTER = replace(EKS, chat="open-webui", chat_secret="chat")


def deployment(profile, models=ALL):
    return find_in(render_chat_ui(profile, models), "Deployment", "chat-ui")


def variables(profile, models=ALL):
    (container,) = deployment(profile, models)["spec"]["template"]["spec"]["containers"]
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container["env"]}


def url(model, component):
    return service_url(stable_name(model, component), component, CLUSTER) + "/v1"


def test_it_lists_each_model_that_chats_and_each_agent_by_one_name():
    known = variables(CLUSTER)

    assert known["OPENAI_API_BASE_URLS"].split(";") == [
        url("weather", "agent"),
        url("talker", "engine"),
        url("weather", "engine"),
    ]
    names = json.loads(known["OPENAI_API_CONFIGS"])
    assert [names[str(i)]["model_ids"] for i in range(len(names))] == [["weather-agent"], ["talker"], ["weather"]]
    assert known["DEFAULT_MODELS"] == "weather-agent"


def test_without_a_model_that_chats_it_asks_no_one():
    known = variables(CLUSTER, [WRITER])

    assert known["ENABLE_OPENAI_API"] == "False"  # else it asks OpenAI's own address
    assert known["OPENAI_API_BASE_URLS"] == ""


def test_it_shows_the_agents_key_to_agents_only():
    known = variables(replace(CLUSTER, agent_keys_secret="callers"))

    assert known["OPENAI_API_KEYS"] == "$(AGENT_KEY);none;none"
    assert known["AGENT_KEY"] == {"secretKeyRef": {"name": "chat", "key": "agent-key"}}
    assert "AGENT_KEY" not in variables(CLUSTER)


def test_the_account_and_the_key_come_from_the_secret_alone():
    known = variables(CLUSTER)

    for name, key in (
        ("WEBUI_ADMIN_EMAIL", "admin-email"),
        ("WEBUI_ADMIN_PASSWORD", "admin-password"),
        ("WEBUI_SECRET_KEY", "secret-key"),
    ):
        assert known[name] == {"secretKeyRef": {"name": "chat", "key": key}}
    assert known["ENABLE_SIGNUP"] == "False"


def test_the_order_of_the_models_does_not_start_it_again():
    assert deployment(CLUSTER) == deployment(CLUSTER, ALL[::-1])


def test_a_volume_has_one_writer_and_a_database_may_have_a_successor_beside_it():
    on_volume, in_database = render_chat_ui(CLUSTER, ALL), render_chat_ui(replace(CLUSTER, chat_database=True), ALL)

    assert find_in(on_volume, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert find_in(on_volume, "PersistentVolumeClaim", "open-webui")
    assert find_in(in_database, "Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"
    assert not [o for o in in_database if o["kind"] == "PersistentVolumeClaim"]
    url = {"secretKeyRef": {"name": "chat", "key": "database-url"}}
    assert variables(replace(CLUSTER, chat_database=True))["DATABASE_URL"] == url
    assert "DATABASE_URL" not in variables(CLUSTER)


def test_one_front_end_takes_the_place_of_the_other():
    page, open_webui = render_chat_ui(EKS, ALL), render_chat_ui(CLUSTER, ALL)

    for kind in ("Deployment", "Service"):
        assert find_in(page, kind)["metadata"] == find_in(open_webui, kind)["metadata"]
    assert find_in(page, "Deployment")["spec"]["selector"] == find_in(open_webui, "Deployment")["spec"]["selector"]
    assert find_in(page, "Service")["spec"] == find_in(open_webui, "Service")["spec"]


@pytest.mark.parametrize(
    ("profile", "origins"),
    [
        (CLUSTER, "http://localhost:8080;http://127.0.0.1:8080"),
        (
            replace(CLUSTER, chat_origins=("https://chat.example", "https://c.example")),
            "https://chat.example;https://c.example",
        ),
        (LAPTOP, "http://chat-ui.genai.svc:8080"),
    ],
)
def test_it_takes_requests_of_its_own_page_only(profile, origins):
    assert variables(profile)["CORS_ALLOW_ORIGIN"] == origins


def test_its_policy_lets_it_reach_engines_agents_and_its_database_alone():
    def egress(profile):
        return find_in(render_platform(profile), "NetworkPolicy", "chat-ui")["spec"].get("egress")

    def ports(profile):
        return [[port["port"] for port in rule["ports"]] for rule in egress(profile)]

    assert egress(EKS) is None
    assert ports(CLUSTER) == [[53, 53], [8000], [8080]]
    assert ports(replace(CLUSTER, chat_database=True)) == [[53, 53], [8000], [8080], [5432]]


def test_the_pipeline_may_make_the_volume_and_not_delete_it():
    def rules(profile):
        role = find_in(render_rbac(profile), "Role")
        return [r for r in role["rules"] if "persistentvolumeclaims" in r["resources"]]

    (rule,) = rules(CLUSTER)
    assert rule["resourceNames"] == ["open-webui"]
    assert rule["verbs"] == ["create", "patch"]
    assert rules(EKS) == rules(replace(CLUSTER, chat_database=True)) == []
    assert len(rules(replace(CLUSTER, weights_mount=True))) == 1


def test_the_secret_of_one_machine_is_the_one_that_its_pod_reads():
    profile = Profile.load({"GENAI_CHAT": "open-webui"})
    (secret,) = render_chat_account(profile, {"admin-email": "a@b.c"})

    assert secret["metadata"]["name"] == variables(profile)["WEBUI_ADMIN_EMAIL"]["secretKeyRef"]["name"]
