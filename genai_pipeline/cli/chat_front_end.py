"""What `genai up` does for the chat front end: hand over Open WebUI's account, have it installed, change the choice."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genai_pipeline.core.model_file import read_models
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.progress import Log
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.agent.keys import agent_key
from genai_pipeline.k8s.chat import AGENT_KEY, CHAT_UI, chat_image
from genai_pipeline.k8s.render import render_chat_account, render_chat_ui
from genai_pipeline.local.installation import PROJECT, PROXIES, Installation
from genai_pipeline.local.open_webui import find_python, find_uv, folder_of, is_installed
from genai_pipeline.local.open_webui_account import account, sign_in
from genai_pipeline.local.supervision.supervisor import Program, Supervisor
from genai_pipeline.rollout.switch.traffic import Traffic

INSTALLER = "open-webui-install"
"""The program that installs Open WebUI while the rollouts run. It ends when it is done."""
_OF_INSTALLERS = ("UV_", "PIP_", "SSL_")
_PATHS = ("PATH", "HOME", "XDG_CACHE_HOME")


def prepare_open_webui(profile: Profile, gateways: Gateways, env: Mapping[str, str], say: Log) -> None:
    """Hand over the account, and install what is not there yet. Nothing waits for it."""
    if profile.chat != "open-webui":
        return
    key = {AGENT_KEY: agent_key()} if profile.agent_keys_secret else {}
    gateways.cluster.apply(render_chat_account(profile, {**account(profile.home), **key}))
    folder = folder_of(env)
    if not is_installed(folder):
        say(f"installing Open WebUI in the background into {folder}: about a minute, 1.2 GB")
        Supervisor(profile.home).start(installer(Installation.of(profile), env))


def installer(installation: Installation, env: Mapping[str, str]) -> Program:
    """Return the program that installs it, with the user's own index, certificates and proxies."""
    python, uv = find_python(env), find_uv(env)
    given = ["--folder", str(folder_of(env)), "--python", str(python), "--uv", str(uv), "--install-only"]
    wanted = {k: v for k, v in env.items() if k.startswith(_OF_INSTALLERS) or k in PROXIES or k in _PATHS}
    if index := env.get("PIP_INDEX_URL"):  # uv does not read pip's settings
        wanted = {"UV_DEFAULT_INDEX": index} | wanted
    return Program(
        name=INSTALLER,
        command=[sys.executable, "-m", "genai_pipeline.local.open_webui", *given],
        directory=PROJECT,
        log=installation.log(INSTALLER),
        environment=wanted,
        autorestart=False,
        start_s=0,
    )


def follow_the_choice(profile: Profile, gateways: Gateways, models: Path, say: Log) -> None:
    """Deploy the chosen front end where the other one runs. Without this it would come with the next promotion.

    Args:
        models: folder of the model files.
    """
    deployed = gateways.cluster.get("Deployment", CHAT_UI)
    if deployed is None or _image_of(deployed) == chat_image(profile):
        return
    traffic, specs = Traffic(gateways, profile), read_models(models, on_one_machine=True).specs
    say(f"the chat front end becomes {profile.chat}")
    gateways.cluster.apply(render_chat_ui(profile, [spec for spec in specs if traffic.on(spec.name)]))


def _image_of(deployment: Mapping[str, Any]) -> str:
    return deployment["spec"]["template"]["spec"]["containers"][0]["image"]


def how_to_sign_in(profile: Profile) -> str:
    """Return where the account of Open WebUI is, or an empty text for the small page."""
    return sign_in(profile.home) if profile.chat == "open-webui" else ""
