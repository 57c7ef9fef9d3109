import json
import stat
import subprocess

import pytest

from genai_pipeline.core.profile import LOCAL_PORTS, Profile
from genai_pipeline.gateways import StoreKeys
from genai_pipeline.local.installation import Installation, engines_of, export_lines


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path / "home")


def test_the_profile_finds_the_services_by_what_was_written(installation):
    ports = {**LOCAL_PORTS, "s3": 4001, "dagster": 4002}

    installation.write_addresses(ports, {})

    profile = Profile.load({"GENAI_HOME": str(installation.home)})
    assert profile.s3_endpoint == "http://127.0.0.1:4001"
    assert profile.dagster_url == "http://127.0.0.1:4002"
    assert profile.dashboards_url == f"http://127.0.0.1:{LOCAL_PORTS['exporter']}"
    assert profile.hub_endpoint == f"http://127.0.0.1:{LOCAL_PORTS['hub']}"
    assert installation.ports() == ports


def test_a_hub_that_the_user_chose_stays_chosen(installation):
    env = {"HF_ENDPOINT": "https://hub.example"}

    installation.write_addresses(LOCAL_PORTS, env)

    assert Profile.load({"GENAI_HOME": str(installation.home)}).hub_endpoint == "https://hub.example"
    assert installation.service_environment(LOCAL_PORTS, env)["HF_ENDPOINT"] == "https://hub.example"


def test_credentials_are_made_once_and_readable_by_their_owner_only(installation):
    first = installation.credentials

    assert Installation(installation.home).credentials == first
    file = installation.home / "s3-credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_installations_have_different_credentials(tmp_path):
    assert Installation(tmp_path / "a").credentials != Installation(tmp_path / "b").credentials


def test_no_secret_stands_among_the_addresses(installation):
    installation.write_addresses(LOCAL_PORTS, {"HF_TOKEN": "hf_secret"})

    written = installation.local_json.read_text()
    assert not any(secret in written for secret in (*installation.credentials, "hf_secret"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ports": {"s3": "x", "else": 1}}'])
def test_a_damaged_file_of_addresses_counts_as_none(installation, text):
    installation.home.mkdir()
    installation.local_json.write_text(text)

    assert installation.ports() == {}


def test_keys_of_the_users_own_cloud_reach_no_service(installation):
    env = {"AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_ENDPOINT_URL": "http://elsewhere", "AWS_PROFILE": "work"}

    environment = installation.service_environment(LOCAL_PORTS, env)

    assert environment["AWS_ACCESS_KEY_ID"] == installation.credentials[0]
    assert environment["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{LOCAL_PORTS['s3']}"
    assert "AWS_PROFILE" not in environment


def test_the_hubs_token_reaches_the_services_and_a_proxy_only_where_the_hub_is_outside(installation):
    env = {"HF_TOKEN": "hf_secret", "HTTPS_PROXY": "http://proxy"}

    own = installation.service_environment(LOCAL_PORTS, env)
    outside = installation.service_environment(LOCAL_PORTS, {**env, "HF_ENDPOINT": "https://hub.example"})

    assert own["HF_TOKEN"] == "hf_secret"
    assert "HTTPS_PROXY" not in own
    assert outside["HTTPS_PROXY"] == "http://proxy"


def test_the_same_settings_give_the_same_environment_whatever_else_the_shell_has(installation):
    one = installation.service_environment(LOCAL_PORTS, {"PATH": "/a", "EDITOR": "vi"})
    other = installation.service_environment(LOCAL_PORTS, {"PATH": "/b", "PWD": "/tmp"})

    assert one == other


def test_exported_lines_survive_a_shell():
    environment = {"A": "with space", "B": "quote'd", "C": "$HOME `x`"}

    script = export_lines(environment) + '\nprintf "%s\\n" "$A" "$B" "$C"'
    printed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.splitlines() == list(environment.values())


def test_the_engines_reach_the_installations_s3_whatever_the_shell_says(installation):
    installation.write_addresses({**LOCAL_PORTS, "s3": 4001}, {})
    env = {"GENAI_HOME": str(installation.home), "AWS_ENDPOINT_URL": "http://elsewhere", "AWS_ACCESS_KEY_ID": "theirs"}

    engines = engines_of(Profile.load(env), env)

    assert engines.profile.s3_endpoint == "http://127.0.0.1:4001"
    assert engines.gateways.store_keys == StoreKeys(*installation.credentials)
    assert env["AWS_ACCESS_KEY_ID"] == "theirs"


def test_addresses_that_are_right_are_not_written_again(installation):
    installation.write_addresses(LOCAL_PORTS, {})
    before = installation.local_json.stat().st_ino

    installation.write_addresses(LOCAL_PORTS, {})

    assert installation.local_json.stat().st_ino == before
    assert json.loads(installation.local_json.read_text())["ports"] == LOCAL_PORTS


def test_a_relative_folder_of_model_files_is_the_shells_own(installation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    environment = installation.service_environment(LOCAL_PORTS, {"GENAI_MODELS": "my-models"})

    assert environment["GENAI_MODELS"] == str(tmp_path / "my-models")
