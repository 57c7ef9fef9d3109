"""How a benchmark hands over what it found."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_figures(found: Mapping[str, Any], out: Path | None) -> None:
    """As JSON, to standard output and, where it is named, to a file."""
    text = json.dumps(found, indent=1) + "\n"
    if out:
        out.write_text(text)
    sys.stdout.write(text)
