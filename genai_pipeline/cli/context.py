"""What every command gets, and how it is announced."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from genai_pipeline.core.model_spec import ModelSpec
    from genai_pipeline.core.profile import Profile
    from genai_pipeline.core.progress import Log
    from genai_pipeline.resources.engines import Engines


@dataclass(frozen=True)
class Context:
    """What every command gets. `env` is the user's environment as we found it."""

    args: argparse.Namespace
    env: dict[str, str]
    profile: Profile
    console: Console

    @property
    def models(self) -> Path:
        from genai_pipeline.local.installation import PROJECT

        return Path(self.env.get("GENAI_MODELS") or PROJECT / "models")

    def engines(self) -> Engines:
        """Return the engines of this profile; on one machine, with the addresses and keys of its running services."""
        from genai_pipeline.local.installation import engines_of

        return engines_of(self.profile, self.env)

    def valid_models(self, only: str | None, say: Log) -> list[ModelSpec]:
        """Return the models of the folder, or one of them; wrong files are reported and left out.

        Raises: NotReady: there is no valid one.
        """
        from genai_pipeline.core.errors import NotReady
        from genai_pipeline.core.model_file import read_models

        files = read_models(self.models, self.profile.name == "local")
        for error in files.errors:
            say(str(error))
        specs = [spec for spec in files.specs if only in (None, spec.name)]
        if not specs:
            known = ", ".join(spec.name for spec in files.specs) or "none"
            what = f"model {only}" if only else "valid model file"
            raise NotReady(f"There is no {what} in {self.models}.", f"Known models: {known}.")
        return specs

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


Run = Callable[[Context], int]
Command = Callable[[str, Run, str], argparse.ArgumentParser]
"""Adds a command by name, what runs it, and what it does in a few words."""


def require_local(context: Context, command: str) -> None:
    from genai_pipeline.core.errors import Refused

    if context.profile.name != "local":
        raise Refused(
            f"`genai {command}` is for GENAI_PROFILE=local; this is {context.profile.name}.",
            "There, Dagster and the cluster are run by their own operators; see docs/kubernetes.md and docs/eks.md.",
        )
