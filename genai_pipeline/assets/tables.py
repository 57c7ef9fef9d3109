"""Evidence as people want to see it in the UI: tables rather than JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg


def shown(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence as Dagster metadata: lists of flat dicts become tables, the rest as it is."""
    return {key: table(value) if _is_table(value) else _plain(value) for key, value in evidence.items()}


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows as a table; columns in order of first appearance, missing cells empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [{c: _cell(row.get(c)) for c in columns} for row in rows]
    schema = dg.TableSchema([dg.TableColumn(c, _column_type([r[c] for r in cells])) for c in columns])
    return dg.MetadataValue.table([dg.TableRecord(row) for row in cells], schema)


def _is_table(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool | dg.MetadataValue):
        return "none" if value is None else value
    return dg.MetadataValue.json(value if isinstance(value, list | dict) else str(value))


def _cell(value: Any) -> str | int | float | bool:
    if isinstance(value, str | int | float | bool):
        return value
    return "" if value is None else str(value)


def _column_type(values: list[Any]) -> str:
    if all(isinstance(v, bool) for v in values):
        return "bool"
    return "float" if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values) else "string"
