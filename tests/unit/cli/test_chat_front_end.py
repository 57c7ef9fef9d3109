"""What `genai up`, `genai status` and `genai doctor` do for the chat front end."""

from dataclasses import replace

import pytest

from genai_pipeline.cli import chat_front_end, doctor
from genai_pipeline.cli.chat_front_end import (
    INSTALLER,
    follow_the_choice,
    how_to_sign_in,
    installer,
    prepare_open_webui,
)
from genai_pipeline.cli.status import status_of, status_page
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.k8s.render import render_chat_ui, render_stable
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.open_webui import STAMP, folder_of
from genai_pipeline.local.open_webui_account import account
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore
from tests.fakes.world import FakeCluster

MODEL = "name: tiny\nsource: {hub: owner/tiny}\n"
SPEC = model_with_tools(MODEL, "tiny.yaml")


@pytest.fixture
def env(tmp_path):
    return {"GENAI_HOME": str(tmp_path / "home"), "GENAI_CHAT": "open-webui", "XDG_CACHE_HOME": str(tmp_path)}


@pytest.fixture
def gateways():
    return Gateways(None, MemoryStore(), FakeCluster(), None, None, None)


@pytest.fixture
def started(monkeypatch):
    """The programs that were started."""
    programs = []
    monkeypatch.setattr(chat_front_end.Supervisor, "start", lambda self, program: programs.append(program))
    return programs


def installed(env):
    folder = folder_of(env)
    (folder / "bin").mkdir(parents=True)
    for path in (folder / STAMP, folder / "bin" / "python"):
        path.touch()


def prepare(env, gateways):
    said = []
    prepare_open_webui(Profile.load(env), gateways, env, said.append)
    return said


def test_it_is_installed_in_the_background_and_its_folder_is_printed(env, gateways, started):
    (said,) = prepare(env, gateways)

    assert str(folder_of(env)) in said
    (program,) = started
    assert program.name == INSTALLER
    assert not program.autorestart
    assert "--install-only" in program.command


def test_what_is_installed_is_not_installed_again(env, gateways, started):
    installed(env)

    assert prepare(env, gateways) == started == []


def test_with_the_small_page_nothing_is_made(env, gateways, started):
    env["GENAI_CHAT"] = "page"

    assert prepare(env, gateways) == started == []
    assert gateways.cluster.objects == {}
    assert how_to_sign_in(Profile.load(env)) == ""


def test_the_account_is_in_the_secret_and_in_nothing_that_is_printed(env, gateways, started):
    said = prepare(env, gateways)

    profile = Profile.load(env)
    (secret,) = gateways.cluster.list("Secret")
    made = account(profile.home)
    assert secret["stringData"] == dict(made)
    printed = [*said, how_to_sign_in(profile), str(render_chat_ui(profile, [SPEC])), str(started)]
    assert not [text for text in printed if made["admin-password"] in text or made["secret-key"] in text]


def test_it_gets_a_key_of_the_agents_where_they_ask_for_one(env, gateways, started, monkeypatch):
    env["AGENT_API_KEYS"] = "k1,k2"
    monkeypatch.setenv("AGENT_API_KEYS", "k1,k2")

    prepare(env, gateways)

    (secret,) = gateways.cluster.list("Secret")
    assert secret["stringData"]["agent-key"] == "k1"


def test_the_installer_has_the_users_index_and_proxies_and_nothing_else(env):
    given = {"PIP_INDEX_URL": "https://i", "PIP_CERT": "/c", "HTTPS_PROXY": "http://p"}

    program = installer(Installation.of(Profile.load(env)), env | given | {"AWS_SECRET_ACCESS_KEY": "s"})

    assert program.environment == given | {
        "UV_DEFAULT_INDEX": "https://i",
        "XDG_CACHE_HOME": env["XDG_CACHE_HOME"],
    }


def test_another_choice_is_deployed_where_a_front_end_runs(env, gateways, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.yaml").write_text(MODEL + "agent: none\n")
    page, open_webui = Profile.load(env | {"GENAI_CHAT": "page"}), Profile.load(env)
    gateways.cluster.apply(render_stable(Release.of(SPEC, "a" * 40), page, "engine"))
    said = []

    follow_the_choice(open_webui, gateways, tmp_path / "models", said.append)
    assert gateways.cluster.get("Deployment", "chat-ui") is None  # the first promotion makes it

    gateways.cluster.apply(render_chat_ui(page, [SPEC]))
    for _ in range(2):
        follow_the_choice(open_webui, gateways, tmp_path / "models", said.append)

    assert len(said) == 1
    container = gateways.cluster.get("Deployment", "chat-ui")["spec"]["template"]["spec"]["containers"][0]
    assert container["name"] == "open-webui"
    assert "http://tiny.genai.svc:8000/v1" in str(container)


def test_status_shows_where_it_is_and_where_its_password_is(env, gateways):
    profile = Profile.load(env)
    gateways.cluster.apply(render_chat_ui(profile, [SPEC]))

    status = status_of(profile, gateways, [], {"PATH": ""})

    assert status["chat"]["front_end"] == "open-webui"
    assert status["chat"]["address"] == gateways.cluster.endpoint("chat-ui")
    (line,) = [part for part in status_page(status) if str(part).startswith("Chat:")]
    assert "open-webui.json" in str(line)


def test_status_of_a_cluster_names_no_file(env, gateways):
    profile = replace(Profile.load(env), name="kubernetes")

    assert status_of(profile, gateways, [], {"PATH": ""})["chat"]["sign_in"] is None


def test_doctor_refuses_what_cannot_be_installed(env, monkeypatch):
    profile = Profile.load(env)
    monkeypatch.setattr(doctor, "why_not_installable", lambda env: "no Python")

    (finding,) = doctor.chat_findings(profile, env)

    assert (finding.level, finding.what) == ("fail", "no Python")
    assert doctor.chat_findings(replace(profile, chat="page"), env) == []
