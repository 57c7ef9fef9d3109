"""Which command stands for which container image on this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_pipeline.core.errors import Refused
from genai_pipeline.local.open_webui import folder_of

EXTRA_IMAGES = "GENAI_LOCAL_IMAGES"
"""Environment variable with more images: a JSON object, repository -> command."""

_IMAGES: Mapping[str, Sequence[str]] = {
    "vllm/vllm-openai": ["python", "-m", "vllm.entrypoints.openai.api_server"],
    "genai-pipeline/strands-agent": ["python", "-m", "genai_pipeline.agent"],
    "genai-pipeline/chat-ui": ["python", "-m", "genai_pipeline.local.chat_page"],
}


class UnknownImage(Refused):
    """No command is known for an image."""


def known_images(env: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Repository without registry and tag -> command.

    Raises: Refused: GENAI_LOCAL_IMAGES is not a JSON object of lists of strings.
    """
    env = os.environ if env is None else env
    text = env.get(EXTRA_IMAGES) or "{}"
    try:
        extra = {str(name): [str(word) for word in command] for name, command in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise Refused(
            f"{EXTRA_IMAGES} is not a JSON object ({error}).", 'Write {"repository": ["python", "server.py"]}.'
        ) from error
    # A pod has another HOME, so the command names the folder.
    open_webui = ["python", "-m", "genai_pipeline.local.open_webui", "--folder", str(folder_of(env))]
    return {name: list(command) for name, command in _IMAGES.items()} | {"open-webui/open-webui": open_webui} | extra


def repository_of(image: str) -> str:
    """`registry:5000/a/b:tag@sha256:…` without tag and digest."""
    image = image.split("@", 1)[0]
    head, _, last = image.rpartition("/")
    last = last.split(":", 1)[0]
    return f"{head}/{last}" if head else last


def entrypoint(image: str, images: Mapping[str, Sequence[str]]) -> list[str]:
    """The command of an image, whatever registry it is named from. Raises UnknownImage."""
    repository = repository_of(image)
    for name, command in images.items():
        if repository == name or repository.endswith(f"/{name}"):
            return on_this_machine(command)
    raise UnknownImage(
        f"no command is known for image {image!r} on this machine",
        f"Known images: {', '.join(sorted(images))}. "
        f"Give the container a `command`, or name the image in {EXTRA_IMAGES}.",
    )


def on_this_machine(command: Sequence[str]) -> list[str]:
    """The command with this interpreter in the place of a bare `python`, and what lies beside it for `ray`.

    Raises: UnknownImage: there is no `ray`.
    """
    if command and command[0] in ("python", "python3"):
        return [sys.executable, *command[1:]]
    if command and command[0] == "ray":
        ray = Path(sys.executable).with_name("ray")
        if not ray.exists():
            raise UnknownImage(f"Ray is not installed beside {sys.executable}.", "pip install 'genai-pipeline[ray]'")
        return [str(ray), *command[1:]]
    return list(command)
