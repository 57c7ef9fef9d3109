"""`python -m genai_pipeline.agent`: run the agent service with the settings of its environment (settings.py)."""

from __future__ import annotations

import logging
import sys

from genai_pipeline.agent.settings import Settings, SettingsError


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.load()
    except SettingsError as error:
        sys.exit(f"The agent cannot start:\n{error}")
    from genai_pipeline.agent.server import CannotListen, serve

    try:
        serve(settings)
    except CannotListen as error:
        sys.exit(f"The agent cannot listen on {settings.host}:{settings.port}: {error}. Set AGENT_HOST and AGENT_PORT.")
    except OSError as error:
        sys.exit(f"The agent cannot store sessions in {settings.sessions}: {error}. Set AGENT_SESSIONS.")


main()
