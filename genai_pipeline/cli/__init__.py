"""The `genai` command."""

from genai_pipeline.cli.main import main

__all__ = ["main"]
