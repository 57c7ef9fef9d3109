"""Checks the paths of a revision's files: S3 and every file system must be able to keep them unchanged."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

LONGEST_KEY = 1024
"""Bytes of a key. Source: Amazon S3 User Guide, "Naming Amazon S3 objects"."""

LONGEST_NAME = 255
"""Bytes of one name between slashes, which Linux's file systems allow."""

_UNPRINTABLE = {"Cc": "a control character", "Cf": "an invisible character", "Cs": "half a character"}
_SEPARATORS = ("Zl", "Zp")


def path_problem(path: str, prefix: str) -> str | None:
    """Return why `path` must not be below `prefix`, or None if it may."""
    strange = next((c for c in path if unicodedata.category(c) in _UNPRINTABLE), None)
    if strange is not None:
        return f"holds {_UNPRINTABLE[unicodedata.category(strange)]} (U+{ord(strange):04X})"
    if any(unicodedata.category(c) in _SEPARATORS for c in path):
        return "holds a line break"
    if "\\" in path:
        return "holds a backslash"
    if path.startswith("/"):
        return "is absolute"
    if len((prefix + path).encode()) > LONGEST_KEY:
        return f"makes a key of more than {LONGEST_KEY} bytes"
    return next((problem for name in path.split("/") if (problem := _name_problem(name))), None)


def _name_problem(name: str) -> str | None:
    if name == "":
        return "has an empty name in it"
    if name in (".", ".."):
        return f"leads elsewhere by {name!r}"
    if name.endswith((".", " ")):
        return f"has a name that ends in {name[-1]!r}"
    if len(name.encode()) > LONGEST_NAME:
        return f"has a name of more than {LONGEST_NAME} bytes"
    return None


def twins(paths: Iterable[str]) -> tuple[str, str] | None:
    """Return two paths that differ only in case or in Unicode spelling, or a file that is also a folder of another."""
    seen: dict[str, str] = {}
    for path in paths:
        folded = _folded(path)
        if folded in seen:
            return seen[folded], path
        seen[folded] = path
    for folded, path in seen.items():
        parts = folded.split("/")
        for upto in range(1, len(parts)):
            above = "/".join(parts[:upto])
            if above in seen:
                return seen[above], path
    return None


def _folded(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
