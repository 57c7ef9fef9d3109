"""The settings of the chat front end: which one it is, and what Open WebUI needs. `Profile` has them like its own."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from genai_pipeline.core.setting_types import SecretName, Words, setting

FrontEnd = Literal["page", "open-webui"]

OPEN_WEBUI_VERSION = "0.12.4"
"""Of the package on PyPI and of the image. The laptop and a cluster run the same one."""
LOCAL_CHAT_SECRET = "open-webui"
"""The Secret that `genai up` writes from the account in `<home>/open-webui.json`."""
SECRET_KEYS: tuple[str, ...] = ("admin-email", "admin-password", "secret-key")


@dataclass(frozen=True)
class ChatSettings:
    """What `platform/chat_ui` deploys."""

    chat: FrontEnd = setting("GENAI_CHAT", "The chat front end: page (one small page) or open-webui.", "page")
    chat_image: str = setting(
        "GENAI_CHAT_IMAGE",
        "The image of Open WebUI by its whole name, with tag or digest.",
        f"ghcr.io/open-webui/open-webui:v{OPEN_WEBUI_VERSION}-slim",
    )
    chat_secret: SecretName | None = setting(
        "GENAI_CHAT_SECRET",
        "Name of the Secret with Open WebUI's first account and key (docs/chat.md).",
        shown=f"none; local: `{LOCAL_CHAT_SECRET}`, which `genai up` writes",
    )
    chat_database: bool = setting(
        "GENAI_CHAT_DATABASE",
        "Whether Open WebUI keeps chats in the PostgreSQL of its Secret's `database-url`, and not on a volume.",
        False,
    )
    chat_origins: Words = setting(
        "GENAI_CHAT_ORIGINS",
        "Addresses at which users open Open WebUI, separated by commas. It takes requests from no other pages.",
        (),
        shown="`http://localhost:8080`, as with `kubectl port-forward`; local: its own",
    )

    @model_validator(mode="after")
    def _open_webui_has_a_secret(self) -> ChatSettings:
        if self.chat == "open-webui" and not self.chat_secret:
            raise ValueError(
                "GENAI_CHAT='open-webui' needs GENAI_CHAT_SECRET: create a Secret with "
                f"{', '.join(SECRET_KEYS)}, and set its name (docs/chat.md)"
            )
        return self
