"""Suggest the known word that a misspelt word probably means. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 8


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word most like `word`.

    Args:
        word: what was written.
        known: words that are allowed.
        cutoff: similarity in (0, 1] below which no word counts as like it.
    Returns: The word, or None when no known word is similar enough.
    """
    # The order of equally close words must not depend on the order of `known`.
    return next(iter(difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=cutoff)), None)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a sentence for an error: the word that was probably meant, or the words that are allowed.

    Args:
        word: what was written.
        known: words that are allowed, in the order to show them.
    Returns: One sentence.
    """
    words = list(known)
    if meant := closest(word, words):
        return f"Did you mean `{meant}`?"
    if not words:
        return "No value is allowed here."
    more = ", …" if len(words) > _SHOWN else ""
    return f"Allowed: {', '.join(words[:_SHOWN])}{more}."
