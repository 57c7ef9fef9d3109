"""The account of Open WebUI on one machine: made once, in a file that only its owner may read."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from genai_pipeline.core.chat_settings import SECRET_KEYS
from genai_pipeline.local.state_files import write_private

EMAIL = "admin@localhost"


def account_file(home: Path) -> Path:
    return home / "open-webui.json"


def account(home: Path) -> Mapping[str, str]:
    """Return address, password and key as the Secret names them. They are made on first use, then the same for ever."""
    file = account_file(home)
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_text())
        return {name: str(kept[name]) for name in SECRET_KEYS}
    made = dict(zip(SECRET_KEYS, (EMAIL, secrets.token_urlsafe(12), secrets.token_urlsafe(32)), strict=True))
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(file, json.dumps(made, indent=1))
    return made


def sign_in(home: Path) -> str:
    """Return whose account it is and where its password stands, which is never printed."""
    return f"(Open WebUI: sign in as {EMAIL}, password in {account_file(home)})"
