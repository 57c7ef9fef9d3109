"""Which tag a `source.ref` follows that is a range or a pattern: the newest that fits.

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
_PATTERN = re.compile(r"[*^~?\[\s]|^[<>=]")  # most of them no name of a branch or tag may have
_SPACED_OPERATOR = re.compile(r"([<>=~^]+)\s+")
_V = re.compile(r"\bv(?=\d)")
_UNFINISHED = re.compile(r"(?<![a-z])(rc|alpha|beta|dev|pre|preview|nightly)(?![a-z])", re.IGNORECASE)
_NUMBERS = re.compile(r"\d+")
_VERSION = re.compile(r"v?\d+(\.\d+)*(?![\d.]).*", re.ASCII)
"""With fewer or more numbers than three as well, but no `2.x`."""


@dataclass(frozen=True)
class TagRange:
    """A range of versions (an NpmSpec), or where `versions` is None a pattern of names."""

    text: str
    versions: Any

    @classmethod
    def parse(cls, ref: str) -> TagRange | None:
        """None where `ref` is the name of a branch, tag or commit. Raises: ValueError: it is neither."""
        if not _PATTERN.search(ref):
            return None
        plain = _SPACED_OPERATOR.sub(r"\1", " ".join(_V.sub("", ref.replace(",", " ")).split()))
        try:
            return cls(ref, _untyped.NpmSpec(plain or "nothing"))  # which it would take for any version
        except ValueError:
            if re.search(r"[*?\[]", ref) and " " not in ref:
                return cls(ref, None)
            raise ValueError("is neither a ref nor a range of versions: write it as v2.*, ^1.4 or >=2, <3") from None

    def newest(self, tags: Iterable[str], prereleases: bool = False) -> str | None:
        """The newest tag that fits; one before its release only if that is asked for, here or by naming one."""
        fitting = [(key, tag) for tag in tags if (key := self._key(tag, prereleases)) is not None]
        return max(fitting)[1] if fitting else None

    def _key(self, tag: str, prereleases: bool) -> Any:
        """What is greater for a newer tag; None for one that does not fit."""
        if self.versions is None:
            left_out = _UNFINISHED.search(tag) and not prereleases and not _UNFINISHED.search(self.text)
            return _by_number(tag) if fnmatchcase(tag, self.text) and not left_out else None
        version = _version(tag)
        if version is None:
            return None
        fits = self.versions.match(version) or (prereleases and self.versions.match(version.truncate()))
        return (version.precedence_key, _by_number(tag)) if fits else None


def _version(tag: str) -> Any:
    """None where the tag is none."""
    if not _VERSION.fullmatch(tag):
        return None
    try:
        return _untyped.Version.coerce(tag.removeprefix("v"))
    except ValueError:
        return None


def _by_number(text: str) -> tuple[tuple[str, int], ...]:
    """`release-10` comes after `release-9`."""
    words, numbers = _NUMBERS.split(text), [int(n) for n in _NUMBERS.findall(text)]
    return tuple(zip(words, [*numbers, -1], strict=True))
