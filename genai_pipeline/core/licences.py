"""What a model states about its licences, and whether a model file allows all of it. Pure.

Names are those of the hub and of SPDX, without regard to case. The library license-expression was weighed: it knows
SPDX's names but not the hub's (`llama3.1`, `gemma`, `other`), and brings a megabyte of data for this little grammar.

Source: SPDX specification 2.3, annex D, "SPDX license expressions"; Hugging Face Hub documentation, "Licenses".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, cast

_TOKENS = re.compile(r"[()]|[^\s()]+")
_IDENTIFIER = re.compile(r"SPDX-License-Identifier:\s*(.+)")
_TITLES: tuple[tuple[str, int, str], ...] = (
    (r"Apache License\s+Version 2\.0", 12_500, "apache-2.0"),
    (r"(?:The )?MIT License", 1_500, "mit"),
    (r"BSD 3-Clause License", 2_000, "bsd-3-clause"),
    (r"(?:META )?LLAMA (\d(?:\.\d)?) COMMUNITY LICENSE", 20_000, r"llama\1"),
    (r"Gemma Terms of Use", 20_000, "gemma"),
)
"""Title of a licence's text, its most characters, and the hub's name. A longer text has terms of its own."""


def stated_licences(card: object, tags: Iterable[str] = (), text: str = "") -> str | None:
    """Return all licences that a model states, as one expression. Everything in a list is joined by AND.

    Args:
        card: `license` of the model card's front matter: a text, a list, or anything else for none.
        tags: the hub's tags of the model, of which those with `license:` count.
        text: content of the file LICENSE, which counts where nothing else is stated.
    Returns: For example `mit AND cc-by-nc-4.0`, or None if nothing is stated.
    """
    listed = cast("list[Any]", card) if isinstance(card, list) else [card]
    found = [name.strip() for name in listed if isinstance(name, str) and name.strip()]
    named = {name.casefold() for stated in found for name in [stated, *names_in(stated)]}
    tagged = (tag.removeprefix("license:").strip() for tag in tags if tag.startswith("license:"))
    found += [tag for tag in tagged if tag and tag.casefold() not in named]
    found = list({name.casefold(): name for name in reversed(found)}.values())[::-1]
    if not found:
        return _recognized(text)
    return " AND ".join(f"({name})" if len(found) > 1 and " " in name else name for name in found)


def names_in(expression: str) -> list[str]:
    """Return the licences that an expression names, in its order. A text that is not an expression is one name."""
    names: list[str] = []

    def note(name: str) -> bool:
        names.append(name)
        return True

    return list(dict.fromkeys(names)) if _evaluated(expression, note) is not None else [expression]


def refused_licences(expression: str, allowed: Collection[str]) -> list[str]:
    """Return the licences that stand in the way, or an empty list without any.

    OR needs one side, AND both.
    """
    known = {name.casefold() for name in allowed}

    def is_allowed(name: str) -> bool:
        """An exception (WITH) and `+` only add permissions to a licence."""
        plain = name.casefold()
        return bool({plain, plain.partition(" with ")[0], plain.removesuffix("+")} & known)

    if expression.casefold() in known or _evaluated(expression, is_allowed):
        return []
    return [name for name in names_in(expression) if not is_allowed(name)]


def _evaluated(expression: str, holds: Callable[[str], bool]) -> bool | None:
    """Return the value of an expression, given that of each name, or None if it is not an expression."""
    try:
        return _Expression(_TOKENS.findall(expression), holds).value()
    except (ValueError, IndexError, RecursionError):
        return None


class _Expression:
    """Reads an expression from left to right. Every name is asked for, whatever the value is by then."""

    def __init__(self, tokens: list[str], holds: Callable[[str], bool]) -> None:
        self._tokens = tokens
        self._holds = holds

    def value(self) -> bool:
        """Return the value of the whole expression. Raises: ValueError, IndexError: it is not one."""
        value = self._either()
        if self._tokens:
            raise ValueError(self._tokens)
        return value

    def _take(self, *words: str) -> bool:
        """Take the next token if it is one of these words."""
        found = bool(self._tokens) and self._tokens[0].upper() in words
        if found:
            self._tokens.pop(0)
        return found

    def _either(self) -> bool:
        value = self._both()
        while self._take("OR"):
            value = self._both() or value
        return value

    def _both(self) -> bool:
        value = self._one()
        while self._take("AND"):
            value = self._one() and value
        return value

    def _one(self) -> bool:
        if self._take("("):
            value = self._either()
            if not self._take(")"):
                raise ValueError(self._tokens)
            return value
        name = self._name()
        return self._holds(f"{name} WITH {self._name()}" if self._take("WITH") else name)

    def _name(self) -> str:
        name = self._tokens.pop(0)
        if name.upper() in ("(", ")", "AND", "OR", "WITH"):
            raise ValueError(name)
        return name


def _recognized(text: str) -> str | None:
    """Return the licence that a file LICENSE is the text of, or None if that is not certain."""
    if stated := _IDENTIFIER.search(text[:1000]):
        return stated[1].strip()
    for title, most, name in _TITLES:
        found = re.match(rf"\W*{title}", text, re.IGNORECASE)
        if found and len(text.strip()) <= most:
            return found.expand(name) if "\\" in name else name
    return None
