"""The chat front end: the small page, or Open WebUI. Pure.

Its objects change with the names of the models only. So a promotion that changes no name restarts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.task import Task
from genai_pipeline.gateways.inference.task_endpoint import endpoint_of
from genai_pipeline.k8s.agent import own_image
from genai_pipeline.k8s.network import service_url, stable_name
from genai_pipeline.k8s.templating import Objects, render_template, secret_of

CHAT_UI = "chat-ui"
"""Name of the front end's Deployment and Service, whichever it is: so one takes the place of the other."""
CLAIM = "open-webui"
AGENT_KEY = "agent-key"
"""Key of the Secret with what Open WebUI shows to agents that ask for a key."""
PORT_FORWARD = ("http://localhost:8080", "http://127.0.0.1:8080")


def render_chat_ui(profile: Profile, models: Sequence[ModelSpec]) -> Objects:
    """The chat front end of these models, which it asks at their stable addresses."""
    if profile.chat == "open-webui":
        return render_template("open_webui.yaml", profile, **open_webui_values(profile, models))
    asked = {
        spec.name: {"url": _url(spec, "engine", profile), "path": f"/v1{endpoint_of(spec.task).path}"}
        for spec in models
    }
    return render_template("chat_ui.yaml", profile, models=asked, image=chat_image(profile))


def chat_image(profile: Profile) -> str:
    return profile.chat_image if profile.chat == "open-webui" else own_image(profile, CHAT_UI)


def render_chat_account(profile: Profile, account: Mapping[str, str]) -> Objects:
    """The Secret of Open WebUI on one machine; elsewhere an administrator keeps one. Never written to files."""
    return secret_of(profile, str(profile.chat_secret), account)


def claim_name(profile: Profile) -> str:
    """Return the name of the claim that Open WebUI keeps accounts and chats on, or an empty text without one."""
    return CLAIM if profile.chat == "open-webui" and not profile.chat_database else ""


def open_webui_values(profile: Profile, models: Sequence[ModelSpec]) -> dict[str, Any]:
    """Return what the template needs: the endpoints of engines and agents that chat, and the name of each.

    Each endpoint is asked for one name only: an engine has a second one for its release, which ends with it.
    """
    chat = sorted((spec for spec in models if spec.task is Task.CHAT), key=lambda spec: spec.name)
    agents = [(_url(spec, "agent", profile), f"{spec.name}-agent", True) for spec in chat if spec.has_agent]
    endpoints = [*agents, *((_url(spec, "engine", profile), spec.name, False) for spec in chat)]
    keys = ["$(AGENT_KEY)" if keyed and profile.agent_keys_secret else "none" for _, _, keyed in endpoints]
    return {
        "image": chat_image(profile),
        "secret": profile.chat_secret,
        "claim": claim_name(profile),
        "urls": ";".join(f"{url}/v1" for url, _, _ in endpoints),
        "keys": ";".join(keys),
        "names": json.dumps({str(i): {"model_ids": [name]} for i, (_, name, _) in enumerate(endpoints)}),
        "first": endpoints[0][1] if endpoints else "",
        "agent_key": AGENT_KEY if profile.agent_keys_secret else "",
        "origins": ";".join(_origins(profile)),
    }


def _origins(profile: Profile) -> Sequence[str]:
    if profile.name == "local" and not profile.chat_origins:
        return [f"http://{CHAT_UI}.{profile.namespace}.svc:8080"]  # the local cluster puts the address there
    return profile.chat_origins or PORT_FORWARD


def _url(spec: ModelSpec, component: str, profile: Profile) -> str:
    return service_url(stable_name(spec.name, component), component, profile)
