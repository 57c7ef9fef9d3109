"""Make texts equal that differ only in how they are written, as accents, letter case and typographic signs. Pure."""

import unicodedata

_TYPESET = str.maketrans({"’": "'", "‘": "'", "‐": "-", "‑": "-", "\u00a0": " ", "\u202f": " "})


def normalized(text: str) -> str:
    """Return the text in small letters and without accents: `sao paulo` for `São Paulo`."""
    plain = unicodedata.normalize("NFKD", text.replace("ø", "o").replace("Ø", "O"))
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).casefold().split())


def spoken(text: str) -> str:
    """Return the text in small letters and with the signs of a keyboard: `couldn't` for `couldn’t`."""
    return text.translate(_TYPESET).casefold()
