"""`genai env --from-terraform`: the settings among the outputs of deploy/terraform, as lines for a shell.

An output that is called as a setting is one. Values are shown only after they were found not to be secret.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genai_pipeline.core.credentials import secret_in
from genai_pipeline.core.errors import Refused
from genai_pipeline.core.profile import SETTINGS, Profile
from genai_pipeline.local.installation import export_lines

HOW = "Run `terraform output -json | genai env --from-terraform` in the folder that you applied."


def print_settings(source: str) -> int:
    """Print `export` lines for a shell. Outputs that are no settings are named on stderr.

    Args:
        source: a file with what `terraform output -json` printed, or `-` for stdin.
    Raises: Refused, WrongSetting.
    """
    settings, others = settings_of(_read(source))
    sys.stdout.write(export_lines(settings) + "\n")
    if others:
        sys.stderr.write(f"Left out, because they are not settings: {', '.join(others)}.\n")
    return 0


def settings_of(text: str) -> tuple[dict[str, str], list[str]]:
    """Return variable -> value of every output that is a setting, and the names of the others.

    Raises: Refused: these are not outputs of Terraform, or one is secret. WrongSetting: a value is not allowed.
    """
    try:
        outputs = json.loads(text)
    except ValueError:
        raise Refused("This is not JSON.", HOW) from None
    if not isinstance(outputs, dict) or not all(isinstance(o, dict) and "value" in o for o in outputs.values()):
        raise Refused("This is not what `terraform output -json` prints: each output needs a `value`.", HOW)
    variables = {setting.variable for setting in SETTINGS}
    given = {name: _text(name, output) for name, output in outputs.items() if name in variables}
    settings = {name: value for name, value in given.items() if value}
    if not settings:
        names = ", ".join(sorted(outputs)) or "none at all"
        raise Refused(f"No output is a setting of the pipeline. The outputs: {names}.", f"{HOW} Apply it first.")
    Profile.load(settings)
    return settings, sorted(outputs.keys() - variables)


def _text(name: str, output: Mapping[str, Any]) -> str:
    """Return the value as an environment variable has it; an empty text for null."""
    value = output["value"]
    if output.get("sensitive") or secret_in("", value):
        raise Refused(
            f"The output {name} is sensitive, or looks like a credential. It is not printed.",
            "A setting is never secret: secrets belong into a Secret of Kubernetes. Remove it from the outputs.",
        )
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str | int):
        return "" if value is None else str(value)
    raise Refused(f"The output {name} must be a text, a number or a list of texts.", f"It is a {type(value).__name__}.")


def _read(source: str) -> str:
    if source == "-" and sys.stdin.isatty():
        raise Refused("Nothing is piped into this command.", HOW)
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"Cannot read {source}: {error}.", HOW) from error
