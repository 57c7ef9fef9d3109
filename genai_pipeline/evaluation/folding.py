"""Texts as people and models type them: what differs in writing only is made the same."""

import unicodedata

_TYPESET = str.maketrans({"’": "'", "‘": "'", "‐": "-", "‑": "-", "\u00a0": " ", "\u202f": " "})


def fold(text: str) -> str:
    """`sao paulo` for `São Paulo`."""
    plain = unicodedata.normalize("NFKD", text.replace("ø", "o").replace("Ø", "O"))
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).casefold().split())


def spoken(text: str) -> str:
    """A phrase or an answer, letter case aside, with the signs of a keyboard: `couldn't` for `couldn’t`."""
    return text.translate(_TYPESET).casefold()
