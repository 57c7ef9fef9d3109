"""Open WebUI is installed once, whole or not at all, and its account is made once."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from genai_pipeline.core.errors import NotReady
from genai_pipeline.local import open_webui
from genai_pipeline.local.cluster.images import entrypoint, known_images
from genai_pipeline.local.open_webui import (
    find_python,
    folder_of,
    install,
    is_installed,
    server_command,
    why_not_installable,
)
from genai_pipeline.local.open_webui_account import account, account_file, sign_in

UV = """#!/bin/sh
echo "$@" >> {said}
case "$1" in
  venv) mkdir -p "$5/bin"; ln -s {python} "$5/bin/python";;
  pip) test ! -e {broken};;
esac
"""


class Uv:
    """A uv that makes an empty environment, and says what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.said, self.broken = folder / "said", folder / "broken"
        self.path = program(folder / "uv", UV.format(said=self.said, broken=self.broken, python=sys.executable))

    @property
    def asked(self) -> list[str]:
        return self.said.read_text().splitlines()


def program(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def uv(tmp_path):
    return Uv(tmp_path)


@pytest.fixture
def folder(tmp_path):
    return folder_of({"XDG_CACHE_HOME": str(tmp_path / "cache")})


def test_it_is_installed_once_without_what_only_its_own_models_need(uv, folder):
    for _ in range(2):
        install(folder, sys.executable, uv.path)

    assert is_installed(folder)
    venv, pip = uv.asked
    assert venv.split()[-1] == str(folder)
    assert "open-webui==" in pip
    without = Path(pip.split()[-1]).read_text()
    assert "torch ; sys_platform == 'never'" in without.splitlines()


def test_two_at_once_install_it_once(uv, folder):
    threads = [threading.Thread(target=install, args=(folder, sys.executable, uv.path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(uv.asked) == 2


def test_what_a_broken_attempt_left_does_not_count_and_is_removed(uv, folder):
    uv.broken.touch()
    with pytest.raises(NotReady, match="not installed"):
        install(folder, sys.executable, uv.path)
    (folder / "left").touch()
    assert not is_installed(folder)
    uv.broken.unlink()

    install(folder, sys.executable, uv.path)

    assert is_installed(folder)
    assert not (folder / "left").exists()


def test_an_environment_whose_interpreter_is_gone_is_made_again(uv, folder):
    install(folder, sys.executable, uv.path)
    (folder / "bin" / "python").unlink()

    assert not is_installed(folder)


def test_a_python_is_found_that_starts_and_that_it_runs_on(tmp_path, monkeypatch):
    env = {"PATH": str(tmp_path)}
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    assert find_python(env) is None
    program(tmp_path / "python3.12", "#!/bin/sh\nexit 127\n")  # a shim of pyenv for a version that is not chosen
    program(tmp_path / "python3.11", "#!/bin/sh\nexit 0\n")

    assert find_python(env) == str(tmp_path / "python3.11")


def test_what_is_missing_to_install_it_has_a_name(uv, folder, tmp_path, monkeypatch):
    env = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert why_not_installable(env) == ""
    monkeypatch.setattr(open_webui, "find_uv", lambda env: None)
    assert "uv" in why_not_installable(env)
    monkeypatch.setattr(open_webui, "find_python", lambda env: None)
    assert "3.12 or 3.11" in why_not_installable(env)

    install(folder, sys.executable, uv.path)

    assert why_not_installable(env) == ""


def test_its_image_stands_for_the_program_that_installs_and_starts_it(tmp_path):
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    command = entrypoint("ghcr.io/open-webui/open-webui:v0-slim", known_images(env))

    assert command[1:3] == ["-m", "genai_pipeline.local.open_webui"]
    assert command[-1] == str(folder_of(env))


def test_it_listens_where_the_image_would(folder):
    assert server_command(folder, {"HOST": "127.77.0.1", "PORT": "8080"})[1:] == [
        "serve",
        "--host",
        "127.77.0.1",
        "--port",
        "8080",
    ]


def test_a_process_that_cannot_install_it_ends_with_the_reason(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "genai_pipeline.local.open_webui", "--folder", tmp_path / "f", "--uv", "/nowhere/uv"],
        env=os.environ | {"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert not is_installed(tmp_path / "f")


def test_the_account_is_made_once_for_its_owner_alone(tmp_path):
    home = tmp_path / "home"
    made = account(home)

    assert account(home) == made
    assert stat.S_IMODE(account_file(home).stat().st_mode) == 0o600
    assert len(made["secret-key"]) >= 32
    assert account(tmp_path / "other")["admin-password"] != made["admin-password"]


def test_a_damaged_account_is_made_again(tmp_path):
    account_file(tmp_path).write_text(json.dumps({"admin-email": "a@b.c"}))

    assert account(tmp_path)["admin-password"]


def test_people_read_where_the_password_is_and_not_what_it_is(tmp_path):
    made = account(tmp_path)

    assert str(account_file(tmp_path)) in sign_in(tmp_path)
    assert made["admin-password"] not in sign_in(tmp_path)
