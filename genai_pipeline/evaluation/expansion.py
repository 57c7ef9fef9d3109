"""Expand cases with parameters: one entry of a suite's `cases` that stands for many.

    - name: time-in-{city}                      - name: weather-plain
      for:                                        for: {place: [Berlin, Zürich]}
        - {city: Tokyo, zone: Asia/Tokyo}         tags: [weather]
        - {city: Paris, zone: Europe/Paris}       turns: [{ask: "Weather in {place}?"}]

A list of rows gives a case for each row; lists under names are combined. In each copy of the entry, `{name}` is
replaced by its value; a value that is the whole field keeps its type. `{{name}}` is a plain `{name}`.

It works on the YAML nodes, so that a mistake in a copy is still reported with its line in the file. A template language
like jinja2 would lose the lines and the types, and would stumble over other braces in prompts.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import partial

import yaml

from genai_pipeline.core.yaml_file import YamlFileError

PARAMETERS = "for"
_NAMED = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")
_STRING = "tag:yaml.org,2002:str"
_MOST_CASES = 1_000
Row = Mapping[str, yaml.Node]


def expand_cases(root: yaml.MappingNode, path: str) -> None:
    """Replace each entry of `cases` by the cases that it stands for.

    Raises: YamlFileError: a parameter is unknown, unused or has no values.
    """
    cases = next((value for key, value in root.value if key.value == "cases"), None)
    if not isinstance(cases, yaml.SequenceNode):
        return
    problems: list[str] = []
    expanded: list[yaml.Node] = []
    for number, case in enumerate(cases.value):
        try:
            expanded += _copies(case)
        except _Wrong as wrong:
            problems += [f"{path}:{line}: cases.{number}.{where}: {what}" for line, where, what in wrong.found]
    if problems := problems or list(_namesakes(expanded, path)):
        raise YamlFileError(problems)
    cases.value[:] = expanded


def _namesakes(cases: list[yaml.Node], path: str) -> Iterator[str]:
    seen: set[str] = set()
    for case in cases:
        pairs = case.value if isinstance(case, yaml.MappingNode) else []
        for value in (value for key, value in pairs if key.value == "name" and isinstance(value, yaml.ScalarNode)):
            if value.value in seen:
                what = f"two cases have the name {value.value!r}. Rename one."
                yield f"{path}:{value.start_mark.line + 1}: cases: {what}"
            seen.add(str(value.value))


class _Wrong(Exception):
    """Mistakes in one entry, each as (line, field, what is wrong and what to do)."""

    def __init__(self, *found: tuple[int, str, str]) -> None:
        self.found = found
        super().__init__(str(found))


def _copies(case: yaml.Node) -> list[yaml.Node]:
    if not isinstance(case, yaml.MappingNode):
        return [case]
    line, table = next(((k.start_mark.line + 1, v) for k, v in case.value if k.value == PARAMETERS), (0, None))
    rest = [(key, value) for key, value in case.value if key.value != PARAMETERS]
    rows = list(_rows(table, line)) if table else [dict[str, yaml.Node]()]
    _refuse_misnamed(rest, line, list(rows[0]))
    named = any(key.value == "name" and _NAMED.search(str(value.value)) for key, value in rest)
    return [_copy(case, rest, row, number if not named and table else None) for number, row in enumerate(rows)]


def _rows(table: yaml.Node, line: int) -> Iterator[Row]:
    """Raises: _Wrong."""
    if isinstance(table, yaml.MappingNode):
        names = [str(key.value) for key, _ in table.value]
        columns = [value.value if isinstance(value, yaml.SequenceNode) else [value] for _, value in table.value]
        _refuse_too_many(math.prod(map(len, columns)), line)
        rows: list[Row] = [dict(zip(names, values, strict=True)) for values in itertools.product(*columns)]
    elif isinstance(table, yaml.SequenceNode) and all(isinstance(row, yaml.MappingNode) for row in table.value):
        rows = [{str(key.value): value for key, value in row.value} for row in table.value]
    else:
        raise _Wrong((line, PARAMETERS, "must be lists under names, as {place: [Oslo, Rome]}, or a list of rows."))
    if not rows or not rows[0]:
        raise _Wrong((line, PARAMETERS, "has no values. Add some, or remove it."))
    _refuse_too_many(len(rows), line)
    for number, row in enumerate(rows):
        if set(row) != set(rows[0]):
            differs = ", ".join(sorted(set(row) ^ set(rows[0])))
            where = table.value[number].start_mark.line + 1
            raise _Wrong(
                (where, f"{PARAMETERS}.{number}", f"all rows need the same names; {differs} is missing in some.")
            )
    yield from rows


def _refuse_too_many(cases: int, line: int) -> None:
    """Raises: _Wrong."""
    if cases > _MOST_CASES:
        raise _Wrong((line, PARAMETERS, f"stands for {cases} cases; at most {_MOST_CASES} are allowed. Use rows."))


def _refuse_misnamed(rest: list[tuple[yaml.Node, yaml.Node]], line: int, known: list[str]) -> None:
    """Raises: _Wrong: an unknown name, or a parameter that is not used. `line` is 0 without a table."""
    used: set[str] = set()
    found: list[tuple[int, str, str]] = []
    for key, value in rest:
        for where, scalar in _scalars(value, str(key.value)):
            for name in _names_in(scalar):
                used.add(name)
                if name not in known:
                    told = f"allowed: {', '.join(known)}" if line else "the case has no `for`"
                    fix = f"Use one of those, add it to `for`, or write {{{{{name}}}}} for the braces themselves."
                    found.append((scalar.start_mark.line + 1, where, f"{{{name}}} is not a parameter; {told}. {fix}"))
    if spare := [name for name in known if name not in used]:
        found.append((line, PARAMETERS, f"{', '.join(spare)} is not used. Use or remove it."))
    if found:
        raise _Wrong(*found)


def _scalars(node: yaml.Node, where: str) -> Iterator[tuple[str, yaml.ScalarNode]]:
    if isinstance(node, yaml.ScalarNode):
        yield where, node
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _scalars(item, f"{where}.{number}")
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _scalars(key, where)
            yield from _scalars(value, f"{where}.{key.value}")


def _names_in(scalar: yaml.ScalarNode) -> list[str]:
    return [plain for _, plain in _NAMED.findall(scalar.value) if plain]


def _copy(
    case: yaml.MappingNode, rest: list[tuple[yaml.Node, yaml.Node]], row: Row, number: int | None
) -> yaml.MappingNode:
    """`number` where the name has no parameter, so that the values have to tell the copies apart."""
    value: list[tuple[yaml.Node, yaml.Node]] = []
    for key, node in rest:
        if key.value != "name" or not isinstance(node, yaml.ScalarNode):
            value.append(_filled_pair(key, node, row))
            continue
        slugs = {name: _slug(given) for name, given in row.items()}
        name = _NAMED.sub(partial(_named, slugs), node.value)
        if number is not None:
            name = f"{name}-{'-'.join(filter(None, slugs.values())) or number + 1}"
        value.append((key, yaml.ScalarNode(_STRING, name, node.start_mark, node.end_mark)))
    return yaml.MappingNode(case.tag, value, case.start_mark, case.end_mark, case.flow_style)


def _named(values: Mapping[str, str], found: re.Match[str]) -> str:
    return f"{{{found[1]}}}" if found[1] else values[found[2]]


def _filled(node: yaml.Node, row: Row) -> yaml.Node:
    if isinstance(node, yaml.ScalarNode):
        whole = _NAMED.fullmatch(node.value)
        if whole and whole[2]:
            return row[whole[2]]
        if not _NAMED.search(node.value):
            return node
        values = {name: _text(value) for name, value in row.items()}
        text = _NAMED.sub(partial(_named, values), node.value)
        return yaml.ScalarNode(_STRING, text, node.start_mark, node.end_mark)
    if isinstance(node, yaml.SequenceNode):
        items = [_filled(item, row) for item in node.value]
        return yaml.SequenceNode(node.tag, items, node.start_mark, node.end_mark, node.flow_style)
    if isinstance(node, yaml.MappingNode):
        pairs = [_filled_pair(key, value, row) for key, value in node.value]
        return yaml.MappingNode(node.tag, pairs, node.start_mark, node.end_mark, node.flow_style)
    return node


def _filled_pair(key: yaml.Node, value: yaml.Node, row: Row) -> tuple[yaml.Node, yaml.Node]:
    """A mistake in a value of the table is reported with its line in the table."""
    key, filled = _filled(key, row), _filled(value, row)
    if filled in row.values() and isinstance(key, yaml.ScalarNode):
        key = yaml.ScalarNode(key.tag, key.value, filled.start_mark, filled.end_mark)
    return key, filled


def _text(node: yaml.Node) -> str:
    """Return a value for use inside a text; of a list of choices, the first."""
    if isinstance(node, yaml.SequenceNode):
        return _text(node.value[0]) if node.value else ""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _slug(node: yaml.Node) -> str:
    """Return a value as part of a case's name: `sao-paulo` for São Paulo."""
    plain = unicodedata.normalize("NFKD", _text(node).replace("ø", "o").replace("Ø", "O"))
    return re.sub(r"[^a-z0-9]+", "-", plain.encode("ascii", "ignore").decode().casefold()).strip("-")
