"""Compare an argument with the pattern that a suite gives for it. Pure.

A plain value matches itself; letter case and white space around a text do not count. A list is a choice, so that an
array is a list in a list. An object has a pattern for each key; `maybe key` may be missing or empty. `$exact` matches
exactly this text, `$contains` a text with all of these words. An argument without a pattern must be empty or the
schema's default.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

MAYBE = "maybe "
EXACT, CONTAINS = "$exact", "$contains"
_WORDS = (EXACT, CONTAINS)
_MOST_SHOWN = 120


def plain(value: Any) -> str:
    """Return a value as messages show it."""
    shown = repr(value)
    return shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + "…"


def optional(key: str) -> tuple[str, bool]:
    """Split the key of a pattern: `maybe unit` becomes (`unit`, True)."""
    return key.removeprefix(MAYBE), key.startswith(MAYBE)


def malformed(pattern: Any) -> str:
    """Return what is wrong about a pattern by itself, or an empty text if nothing is."""
    if pattern is None or isinstance(pattern, str | bool | int | float):
        return ""
    if isinstance(pattern, list):
        inner = [element for choice in pattern for element in (choice if isinstance(choice, list) else [choice])]
        return "an empty choice matches no value" if not pattern else next(filter(None, map(malformed, inner)), "")
    if not isinstance(pattern, dict):
        return f"YAML reads {pattern!s} as a {type(pattern).__name__}, which JSON cannot hold; put it in quotes"
    if any(not isinstance(key, str) for key in pattern):
        return "the keys of an object must be texts; put them in quotes"
    words = [key for key in pattern if key.startswith("$")]
    if words and (len(pattern) != 1 or words[0] not in _WORDS):
        return f"{words[0]} must be the only key and one of {' and '.join(_WORDS)}"
    if words:
        values = pattern[words[0]] if words[0] == CONTAINS else [pattern[words[0]]]
        texts = [values] if isinstance(values, str) else values
        good = isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts)
        return "" if good else f"{words[0]} takes {'texts' if words[0] == CONTAINS else 'a text'}"
    return next(filter(None, map(malformed, pattern.values())), "")


def examples(pattern: Any) -> Iterator[Any]:
    """Yield values that match, each choice at least once, the first choice first."""
    if isinstance(pattern, list):
        for choice in pattern:
            yield from [[next(examples(e)) for e in choice]] if isinstance(choice, list) else examples(choice)
    elif isinstance(pattern, dict) and EXACT in pattern:
        yield pattern[EXACT]
    elif isinstance(pattern, dict) and CONTAINS in pattern:
        yield " ".join(_words(pattern))
    elif isinstance(pattern, dict):
        first = {optional(key)[0]: next(examples(value)) for key, value in pattern.items()}
        yield first
        for key, value in pattern.items():
            yield from (first | {optional(key)[0]: other} for other in list(examples(value))[1:])
    else:
        yield pattern


def differences(pattern: Any, value: Any, schema: Any, name: str) -> list[str]:
    """Return how a value differs from its pattern, or an empty list where it matches."""
    if isinstance(pattern, list):
        found = [_choice_differences(choice, value, schema, name) for choice in pattern]
        if not all(found):
            return []
        many = f"{name} is {plain(value)}, not one of {', '.join(plain(choice) for choice in pattern)}"
        return found[0] if len(found) == 1 else [many]
    return _choice_differences(pattern, value, schema, name)


def object_differences(pattern: Mapping[str, Any], value: Any, schema: Any, name: str = "") -> list[str]:
    """Return how the keys of an object differ from their patterns, or an empty list where they match."""
    if not isinstance(value, dict):
        return [f"{name or 'it'} is {plain(value)}, not an object"]
    dot = f"{name}." if name else ""
    found: list[str] = []
    for written, expected in pattern.items():
        key, may_miss = optional(written)
        under = _under(schema, key)
        if key in value and not (may_miss and _is_empty(value[key])):
            found += differences(expected, value[key], under, dot + key)
        elif not may_miss and not _is_default(expected, under):
            found.append(f"{dot}{key} is missing")
    known = {optional(written)[0] for written in pattern}
    spare = [k for k in value if k not in known and not _is_empty(value[k])]
    extra = [k for k in spare if not _same(_under(schema, k).get("default"), value[k])]
    return found + [f"{dot}{key} = {plain(value[key])} is invented" for key in extra]


def _choice_differences(choice: Any, value: Any, schema: Any, name: str) -> list[str]:
    if isinstance(choice, list):
        return _array_differences(choice, value, schema, name)
    if isinstance(choice, dict) and EXACT in choice:
        return [] if value == choice[EXACT] else [f"{name} is {plain(value)}, not {plain(choice[EXACT])}"]
    if isinstance(choice, dict) and CONTAINS in choice:
        missing = [w for w in _words(choice) if not isinstance(value, str) or _fold(w) not in _fold(value)]
        return [f"{name} is {plain(value)}, without {', '.join(map(plain, missing))}"] if missing else []
    if isinstance(choice, dict):
        return object_differences(choice, value, schema, name)
    return [] if _same(choice, value) else [f"{name} is {plain(value)}, not {plain(choice)}"]


def _array_differences(expected: list[Any], value: Any, schema: Any, name: str) -> list[str]:
    if not isinstance(value, list) or len(value) != len(expected):
        return [f"{name} is {plain(value)}, not {plain(expected)}"]
    items = schema.get("items", {}) if isinstance(schema, dict) else {}
    pairs = enumerate(zip(expected, value, strict=True))
    return [d for i, (e, v) in pairs for d in differences(e, v, items, f"{name}[{i}]")]


def _under(schema: Any, key: str) -> dict[str, Any]:
    """Return the schema of one key of an object."""
    under = schema.get("properties", {}).get(key) if isinstance(schema, dict) else None
    return under if isinstance(under, dict) else {}


def _is_empty(value: Any) -> bool:
    """An empty text or list counts as a missing argument."""
    return value in ("", [])


def _is_default(expected: Any, schema: Any) -> bool:
    return isinstance(schema, dict) and "default" in schema and not differences(expected, schema["default"], schema, "")


def _same(expected: Any, value: Any) -> bool:
    """Compare numbers by value. Neither a boolean nor a text is a number."""
    if isinstance(expected, str) and isinstance(value, str):
        return _fold(expected) == _fold(value)
    if isinstance(expected, bool) or isinstance(value, bool):
        return expected is value
    if isinstance(expected, int | float) and isinstance(value, int | float):
        return math.isclose(expected, value, rel_tol=1e-9)
    return type(expected) is type(value) and expected == value


def _words(pattern: dict[str, Any]) -> list[str]:
    words = pattern[CONTAINS]
    return [words] if isinstance(words, str) else words


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip().casefold()
