"""Judge the value of one argument of vLLM, and render it as vLLM's parser reads it. Pure.

Source: vLLM documentation, "Engine Arguments" and "JSON CLI Arguments".
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, cast

from genai_pipeline.core.did_you_mean import suggestion
from genai_pipeline.core.engine_flags import Flag

_NUMBERS = {
    "int": (re.compile(r"-?\d+"), "an integer, for example 4"),
    "float": (re.compile(r"-?(\d+\.?\d*|\.\d+)(e-?\d+)?", re.I), "a number, for example 0.9"),
    "size": (re.compile(r"\d+|\d+(\.\d+)?[kmgt]|\d+[KMGT]"), "an integer, for example 8192 or 8k"),
    "size_or_auto": (
        re.compile(r"-1|(?i:auto)|\d+|\d+(\.\d+)?[kmgt]|\d+[KMGT]"),
        "an integer, `auto`, or text as 128k",
    ),
}
"""How vLLM reads numbers: as text for its command line, and in words. `k` is 1000 and `K` is 1024."""
_MOST_SHOWN = 80
"""Most characters of a wrong value in a message."""
_JSON_EXAMPLES = {"json": "a mapping, for example {name: value}", "json_list": "a list, for example [a, b]"}


def why_wrong(flag: Flag, value: Any) -> str:
    """Return what an argument allows instead of this value, or an empty text where the value is right.

    Args:
        flag: the argument.
        value: as the model file has it.
    Returns: Sentences for an error.
    """
    if flag.kind in ("switch", "set"):
        return "" if isinstance(value, bool) else f"must be true or false; got {_shown(value)}."
    if value is True:
        return f"wants a value: {allowed(flag)}; got true."
    if value is False:
        return "has a value, so false does not switch it off. Leave it out."
    if flag.values == "one":
        return _why_not_one(flag, value)
    items = cast(list[Any], value) if isinstance(value, list) else [value]
    if not items:
        return "needs at least one value. Leave it out, or add one."
    return next(filter(None, (_why_not_item(flag, item) for item in items)), "")


def allowed(flag: Flag) -> str:
    """Return what a value may be, in words."""
    if flag.choices:
        return "one of " + ", ".join(flag.choices)
    if flag.kind in _NUMBERS:
        return _NUMBERS[flag.kind][1]
    return _JSON_EXAMPLES.get(flag.kind, "text")


def rendered(flag: Flag, value: Any, negated: bool = False) -> list[str]:
    """Return the parts of the command line that give an argument this value.

    Args:
        flag: the argument.
        value: as the model file has it.
        negated: whether the model file has the name of the negated form.
    """
    name = f"--{flag.name}"
    if isinstance(value, bool):
        if value is not negated:
            return [name]
        return [f"--no-{flag.name}"] if flag.kind == "switch" else []
    if flag.values != "one" and isinstance(value, list):
        items = [_text(item) for item in cast(list[Any], value)]
        return [f"{name}={item}" for item in items] if flag.values == "append" else [name, *items]
    return [f"{name}={_text(value)}"]


def rendered_unknown(name: str, value: Any) -> list[str]:
    """Return the same for an argument that no table has, in the forms that most arguments take."""
    return [f"--no-{name}"] if value is False else rendered(Flag(name), value)


def rendered_key(name: str, value: Any) -> list[str]:
    """Return the part that sets one key of a JSON argument, as `--compilation-config.mode=3`."""
    return [f"--{name}={_text(value)}"]


def _why_not_one(flag: Flag, value: Any) -> str:
    if flag.is_json:
        return _why_not_json(flag, value)
    if isinstance(value, list | dict):
        return f"takes one value: {allowed(flag)}; got {_shown(value)}."
    return _why_not_scalar(flag, value)


def _why_not_item(flag: Flag, item: Any) -> str:
    """Judge one of several values. Those of `lora-modules` may be mappings, which vLLM reads as JSON."""
    if isinstance(item, dict) and flag.name == "lora-modules":
        return ""
    if isinstance(item, bool | list | dict):
        return f"takes a list, and each entry must be {allowed(flag)}; got {_shown(item)}."
    if re.match(r"-(?!\d+$)", str(item)):
        return f"vLLM would read {_shown(item)} as another argument. Write an entry that starts without a dash."
    return _why_not_scalar(flag, item)


def _why_not_scalar(flag: Flag, value: Any) -> str:
    text = str(value)
    if flag.choices:
        read = text.lower().replace("-", "_") if flag.folds else text
        wrong = read not in flag.choices
        remedy = suggestion(text, flag.choices) if flag.kind == "text" else f"Allowed: {', '.join(flag.choices)}."
        return f"has no value {_shown(value)}. {remedy}" if wrong else ""
    pattern, words = _NUMBERS.get(flag.kind, (None, ""))
    return f"must be {words}; got {_shown(value)}." if pattern and not pattern.fullmatch(text) else ""


def _why_not_json(flag: Flag, value: Any) -> str:
    read: Any = value
    if isinstance(value, str):
        if flag.kind == "json_or_text":
            return ""
        with suppress(ValueError):
            read = json.loads(value)
    wanted = list if flag.kind == "json_list" else dict
    example = _JSON_EXAMPLES.get(flag.kind, _JSON_EXAMPLES["json"])
    return "" if isinstance(read, wanted) else f"must be {example}; got {_shown(value)}."


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"
