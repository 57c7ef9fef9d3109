"""Commands about staged models: stage, verify, prune."""

from __future__ import annotations

from genai_pipeline.cli.context import Command


def announce(command: Command) -> None:
    return None
