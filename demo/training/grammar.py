"""Phrasings as small grammars: one YAML file a subject, expanded at random.

Notation: `<name>` is another symbol of the file (or of shared.yaml), `(a|b|)` one of the alternatives, and
`{place}` a slot that the caller fills. Expansion is deterministic for a given `random.Random`.
"""

import re
from functools import cache
from pathlib import Path
from random import Random

import yaml

FOLDER = Path(__file__).parent
_TOKEN = re.compile(r"<(\w+)>|([(|)])|([^<(|)]+|<)")

# A parsed alternative: a tuple of text, symbol references and choices.
Symbol = tuple[str, str]
Choice = tuple[str, tuple["Sequence", ...]]
Sequence = tuple["str | Symbol | Choice", ...]


def read_yaml(path: Path) -> dict:
    """Read a YAML file with every scalar as text, so that `no` and `on` stay words."""
    return yaml.load(
        path.read_text(encoding="utf-8"), Loader=yaml.CBaseLoader if hasattr(yaml, "CBaseLoader") else yaml.BaseLoader
    )


def _parse(text: str) -> Sequence:
    tokens = _TOKEN.findall(text)
    sequence, end = _parse_sequence(tokens, 0)
    if end != len(tokens):
        raise ValueError(f"unbalanced parenthesis in {text!r}")
    return sequence


def _parse_sequence(tokens: list, position: int) -> tuple[Sequence, int]:
    parts: list = []
    while position < len(tokens):
        symbol, mark, text = tokens[position]
        if mark in ("|", ")") and mark:
            break
        position += 1
        if mark == "(":
            choice, position = _parse_choice(tokens, position)
            parts.append(choice)
        else:
            parts.append(("symbol", symbol) if symbol else text)
    return tuple(parts), position


def _parse_choice(tokens: list, position: int) -> tuple[Choice, int]:
    alternatives = []
    while True:
        sequence, position = _parse_sequence(tokens, position)
        alternatives.append(sequence)
        if position >= len(tokens):
            raise ValueError("unclosed parenthesis")
        mark = tokens[position][1]
        position += 1
        if mark == ")":
            return ("choice", tuple(alternatives)), position


class Grammar:
    """The symbols of one subject, ready to be expanded."""

    def __init__(self, symbols: dict[str, list[str]]) -> None:
        self._symbols = {name: tuple(map(_parse, alternatives)) for name, alternatives in symbols.items()}

    @classmethod
    @cache
    def load(cls, subject: str) -> "Grammar":
        """Read `phrasings/<subject>.yaml` on top of `phrasings/shared.yaml`."""
        shared = read_yaml(FOLDER / "phrasings" / "shared.yaml")
        return cls(shared | read_yaml(FOLDER / "phrasings" / f"{subject}.yaml"))

    @classmethod
    @cache
    def load_file(cls, name: str) -> "Grammar":
        """Read `<name>.yaml` beside this module, without the shared symbols."""
        return cls(read_yaml(FOLDER / f"{name}.yaml"))

    def expand(self, rng: Random, symbol: str = "start") -> str:
        """Return one phrasing, its slots still open."""
        parts: list[str] = []
        self._write(rng, rng.choice(self._symbols[symbol]), parts)
        return re.sub(r"  +", " ", "".join(parts)).strip()

    def expand_raw(self, rng: Random, symbol: str) -> str:
        """Like `expand`, white space at the ends kept."""
        parts: list[str] = []
        self._write(rng, rng.choice(self._symbols[symbol]), parts)
        return "".join(parts)

    def _write(self, rng: Random, sequence: Sequence, parts: list[str]) -> None:
        for part in sequence:
            if isinstance(part, str):
                parts.append(part)
            elif part[0] == "symbol":
                self._write(rng, rng.choice(self._symbols[part[1]]), parts)
            else:
                self._write(rng, rng.choice(part[1]), parts)

    def words(self) -> set[str]:
        """Every plain word that the grammar can say."""
        found: set[str] = set()
        stack: list = [alternative for alternatives in self._symbols.values() for alternative in alternatives]
        while stack:
            part = stack.pop()
            if isinstance(part, str):
                found.update(re.findall(r"(?<![{\w])[a-z]{2,}(?![}\w])", part))
            elif part and part[0] == "choice":
                stack.extend(part[1])
            elif part and part[0] != "symbol":
                stack.extend(part)
        return found
