"""What an expression of a dashboard or a rule asks for, by a real PromQL parser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser

VARIABLES: Mapping[str, str] = {"__rate_interval": "10s", "namespace": "genai", "model": ".*", "release": ".*"}


def expressions(dashboard: Path | str) -> list[tuple[str, str]]:
    """Return (panel or mark, expression) of a dashboard, with Grafana's variables replaced."""
    data = json.loads(dashboard.read_text() if isinstance(dashboard, Path) else dashboard)
    found = [(panel["title"], target["expr"]) for panel in data["panels"] for target in panel.get("targets", [])]
    found += [(mark["name"], mark["expr"]) for mark in data["annotations"]["list"]]
    return [(title, re.sub(r"\$([a-z_]+)", lambda m: VARIABLES[m[1]], expr)) for title, expr in found]


def selectors(expr: str) -> list[promql_parser.VectorSelector]:
    """Return every selector of an expression. Raises: ValueError: it is not PromQL."""
    return list(_selectors(promql_parser.parse(expr)))


def names(expr: str) -> set[str]:
    """Return the names of all metrics that an expression asks for, also by a pattern."""
    return {name for each in selectors(expr) for name in _names(each)}


def _selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for child in ("lhs", "rhs", "expr", "param", "vector_selector"):
        if (below := getattr(node, child, None)) is not None:
            yield from _selectors(below)
    for argument in getattr(node, "args", None) or []:
        yield from _selectors(argument)


def _names(one: promql_parser.VectorSelector) -> list[str]:
    if one.name:
        return [one.name]
    (pattern,) = [m.value for m in one.matchers.matchers if m.name == "__name__"]
    if inner := re.search(r"\(([^)]*)\)", pattern):
        return [pattern.replace(inner[0], choice) for choice in inner[1].split("|")]
    return pattern.split("|")
