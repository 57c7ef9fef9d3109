"""The arguments that vLLM's server takes, by version, from `engine_flags.json` in this folder.

That file has a date and its versions, and `tools/write_engine_flags.py` writes it from vLLM's own parser.
Importing that parser takes half a minute, so no process does it to read a model file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

DATA = Path(__file__).with_suffix(".json")
_TAG_VERSION = re.compile(r":v?(\d+\.\d+\.\d+)[^/@]*(@sha256:\w+)?$")
_PAIRED = {"enable-": "disable-", "disable-": "enable-"}

Kind = Literal["switch", "set", "int", "float", "size", "size_or_auto", "text", "json", "json_list", "json_or_text"]


@dataclass(frozen=True)
class Flag:
    """One argument of vLLM's server.

    Args:
        name: as it is written behind `--`, with dashes.
        kind: what a value is. A `switch` has a form `--no-…`; a `set` is only given or left out.
        values: `many` takes values one after the other; `append` is given once for each value.
        choices: values that are allowed, or an empty list where any value of the kind is.
        folds: whether the argument reads `A-B` as `a_b`.
        also: other names of the argument, long and short.
    """

    name: str
    kind: Kind = "text"
    values: Literal["one", "many", "append"] = "one"
    choices: tuple[str, ...] = ()
    folds: bool = False
    also: tuple[str, ...] = ()

    @property
    def is_json(self) -> bool:
        return self.kind in ("json", "json_list", "json_or_text")


@dataclass(frozen=True)
class FlagTable:
    """The arguments of one version.

    Args:
        version: of vLLM.
        flags: every argument that is not deprecated.
        pairs: whether `--enable-x` and `--disable-x` switch the same thing on and off, as from 0.33 on.
    """

    version: str
    flags: tuple[Flag, ...]
    pairs: bool = False

    @property
    def names(self) -> list[str]:
        return [flag.name for flag in self.flags]

    def find(self, name: str) -> tuple[Flag, bool] | None:
        """Return the argument of this name, and whether the name is its negated form, or None for an unknown name."""
        if name in self._by_name:
            return self._by_name[name], False
        negated = self._by_name.get(name.removeprefix("no-")) if name.startswith("no-") else self._partner(name)
        return (negated, True) if negated and negated.kind == "switch" else None

    def long_form(self, short: str) -> str | None:
        """Return the name of the argument whose short form this is, as `tp`."""
        return next((flag.name for flag in self.flags if short in flag.also), None)

    @cached_property
    def _by_name(self) -> Mapping[str, Flag]:
        long = {also: flag for flag in self.flags for also in flag.also if len(also) >= _SHORTEST_LONG_NAME}
        return long | {flag.name: flag for flag in self.flags}

    def _partner(self, name: str) -> Flag | None:
        prefix = next((prefix for prefix in _PAIRED if self.pairs and name.startswith(prefix)), None)
        return self._by_name.get(_PAIRED[prefix] + name.removeprefix(prefix)) if prefix else None


def spelt(name: str) -> str:
    """Return the name as vLLM reads it: with dashes, where a model file may have underscores."""
    head, dot, keys = name.partition(".")
    return head.replace("_", "-") + dot + keys


def judging_table(image: str) -> FlagTable | None:
    """Return the table that judges an image, or None where its tag names no version that the tables have."""
    found = _TAG_VERSION.search(image)
    return table_of(found[1]) if found else None


def table_of(version: str) -> FlagTable | None:
    """Return the table of a version, or None where no table has it.

    Arguments change with minor versions, so a patch release has the table of its minor version.
    """
    minor = version.split(".")[:2]
    return next((table for table in tables() if table.version.split(".")[:2] == minor), None)


@cache
def tables() -> tuple[FlagTable, ...]:
    """Return the table of every version in the data file, the oldest first."""
    return read_tables(DATA.read_text(encoding="utf-8"))


def read_tables(text: str) -> tuple[FlagTable, ...]:
    """Return the tables of a data file. Raises ValueError, KeyError, TypeError: the text is not such a file."""
    data = json.loads(text)
    versions: list[str] = data["versions"]
    rows = [(row.pop("in", versions), _flag(row)) for row in data["flags"]]
    return tuple(
        FlagTable(version, tuple(flag for known_in, flag in rows if version in known_in), version in data["pairs"])
        for version in versions
    )


def data_file(found: Iterable[FlagTable], source: str, date: str) -> str:
    """Return the text of a data file: a line for each argument, and more for one that differs between versions."""
    ordered = sorted(found, key=lambda table: tuple(map(int, table.version.split(".")[:2])))
    versions = [table.version for table in ordered]
    known_in: dict[Flag, list[str]] = {}
    for table in ordered:
        for flag in table.flags:
            known_in.setdefault(flag, []).append(table.version)
    lines = [json.dumps(_row(flag, known_in[flag], versions)) for flag in sorted(known_in, key=lambda one: one.name)]
    pairs = [table.version for table in ordered if table.pairs]
    head = {"source": source, "date": date, "versions": versions, "pairs": pairs}
    top = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    return "\n".join(["{", *top, ' "flags": [', "  " + ",\n  ".join(lines), " ]", "}"]) + "\n"


_SHORTEST_LONG_NAME = 5
"""vLLM's short forms, as `-dpa` and `-asc`, have fewer letters than its long ones."""


def _flag(row: Mapping[str, Any]) -> Flag:
    lists = {key: tuple(row[key]) for key in ("choices", "also") if key in row}
    fields: dict[str, Any] = dict(row) | lists
    return Flag(**fields)


def _row(flag: Flag, known_in: list[str], versions: list[str]) -> dict[str, Any]:
    plain = asdict(Flag(flag.name))
    row = {key: value for key, value in asdict(flag).items() if key == "name" or value != plain[key]}
    return row if known_in == versions else row | {"in": known_in}
