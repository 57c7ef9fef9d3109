"""Find the newest tag that fits a `source.ref` which is a range of versions or a pattern of names.

    v2.*   ^1.4   ~1.2.3   >=2, <3   1.2 - 1.9     ranges of versions, as npm has them
    release-*                                      any other pattern, its numbers compared as numbers

Source: Semantic Versioning 2.0.0, section 11; npm's documentation, "semver: Ranges".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import semantic_version  # pyright: ignore[reportMissingTypeStubs]

_untyped: Any = semantic_version
_PATTERN = re.compile(r"[*^~?\[\s]|^[<>=]")  # git forbids most of these characters in names of branches and tags
_SPACED_OPERATOR = re.compile(r"([<>=~^]+)\s+")
_V = re.compile(r"\bv(?=\d)")
_UNFINISHED = re.compile(r"(?<![a-z])(rc|alpha|beta|dev|pre|preview|nightly)(?![a-z])", re.IGNORECASE)
_NUMBERS = re.compile(r"\d+")
_VERSION = re.compile(r"v?\d+(\.\d+)*(?![\d.]).*", re.ASCII)
"""Takes fewer or more than three numbers as well, but not `2.x`."""


@dataclass(frozen=True)
class TagRange:
    """A range of versions (an NpmSpec), or a pattern of names if `versions` is None."""

    text: str
    versions: Any

    @classmethod
    def parse(cls, ref: str) -> TagRange | None:
        """Read a ref.

        Returns: The range, or None when `ref` is the name of a branch, tag or commit.
        Raises: ValueError: `ref` is not a name, a range or a pattern.
        """
        if not _PATTERN.search(ref):
            return None
        plain = _SPACED_OPERATOR.sub(r"\1", " ".join(_V.sub("", ref.replace(",", " ")).split()))
        try:
            return cls(ref, _untyped.NpmSpec(plain or "nothing"))  # because it takes an empty text for any version
        except ValueError:
            if re.search(r"[*?\[]", ref) and " " not in ref:
                return cls(ref, None)
            raise ValueError("must be a branch, tag, commit or range of versions: v2.*, ^1.4 or >=2, <3") from None

    def newest(self, tags: Iterable[str], prereleases: bool = False) -> str | None:
        """Return the newest tag that fits, or None.

        Args:
            tags: names of tags.
            prereleases: also take tags such as v2.1.0-rc.1. A range that names a prerelease takes them anyway.
        """
        fitting = [(key, tag) for tag in tags if (key := self._key(tag, prereleases)) is not None]
        return max(fitting)[1] if fitting else None

    def _key(self, tag: str, prereleases: bool) -> Any:
        """Return a sort key that is greater for a newer tag, or None for a tag that does not fit."""
        if self.versions is None:
            left_out = _UNFINISHED.search(tag) and not prereleases and not _UNFINISHED.search(self.text)
            return _by_number(tag) if fnmatchcase(tag, self.text) and not left_out else None
        version = _version(tag)
        if version is None:
            return None
        fits = self.versions.match(version) or (prereleases and self.versions.match(version.truncate()))
        return (version.precedence_key, _by_number(tag)) if fits else None


def _version(tag: str) -> Any:
    """Return None when the tag is not a version."""
    if not _VERSION.fullmatch(tag):
        return None
    try:
        return _untyped.Version.coerce(tag.removeprefix("v"))
    except ValueError:
        return None


def _by_number(text: str) -> tuple[tuple[str, int], ...]:
    """Return a key by which `release-10` comes after `release-9`."""
    words, numbers = _NUMBERS.split(text), [int(n) for n in _NUMBERS.findall(text)]
    return tuple(zip(words, [*numbers, -1], strict=True))
