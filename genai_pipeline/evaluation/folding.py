"""Names of places as people and models type them."""

import unicodedata


def fold(text: str) -> str:
    """`sao paulo` for `São Paulo`."""
    plain = unicodedata.normalize("NFKD", text.replace("ø", "o").replace("Ø", "O"))
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).casefold().split())
