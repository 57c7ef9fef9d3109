"""Write the package's data file of vLLM's arguments from the parser of the installed vLLM.

The file keeps the other versions that it has. A version is dropped by `--only`. Importing vLLM takes a minute.

    python tools/write_engine_flags.py           adds or replaces the installed version
    python tools/write_engine_flags.py --only    keeps no other version
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from genai_pipeline.core.engine_flags import DATA, Flag, FlagTable, data_file, tables

SOURCE = "make_arg_parser of vLLM; its documentation lists the same on the page Engine Arguments"
PLACES = ("common", "launchers", "openai")
"""Packages of `vllm.entrypoints` that had the parser: from 0.33 on, in 0.32, and before."""
NOT_LISTED = frozenset({"help", "version"})


def main(only: bool) -> None:
    new = installed()
    others = [] if only or not DATA.exists() else [table for table in tables() if table.version != new.version]
    DATA.write_text(data_file([*others, new], SOURCE, datetime.now(UTC).date().isoformat()), encoding="utf-8")


def installed() -> FlagTable:
    """Return the arguments of the installed vLLM."""
    from vllm import __version__

    parser = installed_parser()
    options = {option for action in parser._actions for option in action.option_strings}
    paired = {"--enable-prefix-caching", "--disable-prefix-caching"} <= options
    return FlagTable(__version__.partition("+")[0], tuple(flags_of(parser)), paired)


def installed_parser() -> argparse.ArgumentParser:
    """Return the parser of the installed vLLM's server."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    make_arg_parser = next(filter(None, map(_maker, PLACES)), None)
    if make_arg_parser is None:
        raise SystemExit(f"No module of vLLM's {', '.join(PLACES)} has make_arg_parser. Add its package to PLACES.")
    return make_arg_parser(FlexibleArgumentParser())


def _maker(place: str) -> Any:
    with suppress(ModuleNotFoundError):
        return import_module(f"vllm.entrypoints.{place}.cli_args").make_arg_parser
    return None


def flags_of(parser: argparse.ArgumentParser) -> Iterator[Flag]:
    """Yield what a model file may give, sorted by name. Positional and deprecated arguments are left out."""
    deprecated: frozenset[argparse.Action] = frozenset(getattr(parser, "_deprecated", ()))
    for action in sorted(parser._actions, key=lambda one: one.option_strings):
        longs = [option.lstrip("-") for option in action.option_strings if option.startswith("--")]
        if not longs or action in deprecated or "Deprecated" in type(action).__name__ or longs[0] in NOT_LISTED:
            continue
        negatable = isinstance(action, argparse.BooleanOptionalAction)
        others = [] if negatable else longs[1:]  # the other names of a switch negate it
        shorts = [option.lstrip("-") for option in action.option_strings if not option.startswith("--")]
        yield Flag(
            name=longs[0],
            kind="switch" if negatable else "set" if action.nargs == 0 else _kind(action),
            values=_values(action),
            choices=tuple(str(choice) for choice in action.choices or () if choice is not None),
            folds=_folds(action),
            also=tuple(others + shorts),
        )


def _values(action: argparse.Action) -> Any:
    if isinstance(action, argparse._AppendAction):
        return "append"
    return "many" if action.nargs in ("+", "*") else "one"


def _kind(action: argparse.Action) -> Any:
    """Return the kind of an argument by what its type is, or by what it takes."""
    kind = _inner(action.type)
    name = getattr(kind, "__name__", "")
    if name in ("human_readable_int", "human_readable_int_or_auto"):
        return "size_or_auto" if name.endswith("auto") else "size"
    if name == "union_dict_and_str":
        return "json_or_text"
    if name in ("loads", "parse_dataclass"):
        return "json_list" if isinstance(action.default, list) else "json"
    if kind in (int, float):
        return kind.__name__
    return "text"


def _inner(kind: Any) -> Any:
    """Return the type inside vLLM's wrappers `optional_type` and `parse_type`."""
    while getattr(kind, "__name__", "") in ("_optional_type", "_parse_type"):
        kind = next(cell.cell_contents for cell in kind.__closure__ if callable(cell.cell_contents))
    return kind


def _folds(action: argparse.Action) -> bool:
    """Return whether an argument with choices reads `A-B` as `a_b`."""
    reads: Callable[[str], Any] | Sequence[str] | None = action.type if action.choices else None
    with suppress(Exception):
        return callable(reads) and reads("A-B") == "a_b"
    return False


if __name__ == "__main__":
    main("--only" in sys.argv[1:])
