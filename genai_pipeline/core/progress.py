"""The type of what takes the lines that a long piece of work logs."""

from __future__ import annotations

from collections.abc import Callable

Log = Callable[[str], None]
"""Takes one line about what is going on, for a person."""
