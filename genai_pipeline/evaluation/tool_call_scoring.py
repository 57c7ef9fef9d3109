"""Score one answer of a model: its calls against the expected ones, in any order, and its text against words. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

from genai_pipeline.evaluation.argument_pattern import object_differences, plain
from genai_pipeline.evaluation.normalized_text import spoken
from genai_pipeline.evaluation.reply import ReportedCall
from genai_pipeline.evaluation.tool_suite import Call, ToolStep, ToolSuite
from genai_pipeline.gateways.inference.chat_answer import RawCall

_RAW_CALL = re.compile(
    r"\[TOOL_CALLS\]|<tool_call>|<\|python_tag\|>|<function=|<｜tool▁call|<\|tool_call|"
    r'"name"\s*:\s*"[^"]+"\s*,\s*"(?:arguments|parameters)"\s*:'
)
"""A call that the engine left in the text, in the forms that models write."""
_ASKING = re.compile(
    r"[?？¿]|\b(?:please|let me know|tell me|could you|can you|need|provide|specify|missing|which|what)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ScoredCalls:
    """`wrong` holds a phrase per mistake; `matched` the place of each expected call, where nothing is wrong."""

    wrong: list[str]
    matched: list[int]


def score_calls(suite: ToolSuite, tools: Sequence[str], step: ToolStep, calls: Sequence[RawCall]) -> ScoredCalls:
    """Compare the calls of one answer with what the step wants."""
    read = [_read(suite, tools, call) for call in calls]
    wrong = [problem for problem, _ in read if problem] + _identities(calls)
    good = {i: (calls[i].name, arguments) for i, (problem, arguments) in enumerate(read) if not problem}
    fits = [[i for i, call in good.items() if not _differences(suite, wanted, call)] for wanted in step.calls]
    matched = _pair_up(fits)
    spare = [i for i in good if i not in matched.values()]
    spare = [i for i in spare if all(_differences(suite, may, good[i]) for may in step.may_call)]
    for number, wanted in enumerate(step.calls):
        if number not in matched:
            wrong += _unmet(
                suite, wanted, good, spare, broken=[calls[i].name for i in range(len(calls)) if i not in good]
            )
    wrong += [f"{_shown(*good[i])} called, which nothing asked for" for i in spare]
    return ScoredCalls(wrong, [] if wrong else [matched[number] for number in range(len(step.calls))])


def raw_call(text: str) -> str:
    """Return what is wrong where an engine left a call in the text, or an empty text where it did not."""
    found = _RAW_CALL.search(text)
    return f"a call came back as text ({found[0]!r}): set the --tool-call-parser that fits the model" if found else ""


def score_text(step: ToolStep, text: str, called: bool) -> list[str]:
    """Return what is wrong about the text of an answer, or an empty list if nothing is."""
    if not step.calls and not called and not text.strip():
        return ["neither calls nor says anything"]
    folded = spoken(text)
    wrong = [f"says none of {', '.join(map(repr, g))}" for g in step.says if not any(spoken(p) in folded for p in g)]
    wrong += [f"says {phrase!r}" for phrase in step.never if spoken(phrase) in folded]
    asks = _ASKING.search(text) and any(spoken(word) in folded for word in step.asks_for)
    if step.asks_for and not called and not asks:
        wrong.append(f"does not ask for what is missing ({', '.join(step.asks_for)})")
    return wrong


def shown_calls(calls: Sequence[RawCall]) -> list[ReportedCall]:
    """Return the calls for a transcript; arguments that are not JSON stay the text that came."""
    return [ReportedCall(call.name, _json(call.arguments, or_else=call.arguments)) for call in calls]


def _read(suite: ToolSuite, tools: Sequence[str], call: RawCall) -> tuple[str, Any]:
    """(what is wrong with the call by itself, its arguments)."""
    if call.name not in tools:
        return f"{call.name or 'a call without a name'} called, which is not one of its tools", None
    arguments = _json(call.arguments or "{}")
    if not isinstance(arguments, dict):
        return f"the arguments of {call.name} are not a JSON object: {plain(call.arguments)}", None
    errors = Draft202012Validator(suite.tools[call.name].parameters).iter_errors(arguments)
    told = [f"{'.'.join([call.name, *map(str, e.absolute_path)])}: {e.message[:200]}" for e in errors]
    return "; ".join(told), arguments


def _identities(calls: Sequence[RawCall]) -> list[str]:
    """Results are sent back by id, so that each call needs an id that no other call has."""
    ids = [call.id for call in calls]
    if not all(ids):
        return ["a call came without an id"]
    return ["two calls came with the same id"] if len(set(ids)) < len(ids) else []


def _differences(suite: ToolSuite, wanted: Call, call: tuple[str, Any]) -> list[str]:
    ((name, arguments),) = wanted.items()
    if call[0] != name:
        return [f"{call[0]} is not {name}"]
    return object_differences(arguments, call[1], suite.tools[name].parameters)


def _pair_up(fits: list[list[int]]) -> dict[int, int]:
    """As many pairs as can be: a call that fits two expectations must not starve the one that nothing else fits."""
    owner: dict[int, int] = {}

    def place(wanted: int, tried: set[int]) -> bool:
        for call in fits[wanted]:
            if call not in tried:
                tried.add(call)
                if call not in owner or place(owner[call], tried):
                    owner[call] = wanted
                    return True
        return False

    for wanted in range(len(fits)):
        place(wanted, set())
    return {wanted: call for call, wanted in owner.items()}


def _unmet(suite: ToolSuite, wanted: Call, good: dict[int, Any], spare: list[int], broken: list[str]) -> list[str]:
    """Return why an expected call is missing. Remove the call that was meant for it from `spare`."""
    ((name, arguments),) = wanted.items()
    near = [(_differences(suite, wanted, good[i]), i) for i in spare if good[i][0] == name]
    if near:
        differences, index = min(near, key=lambda pair: len(pair[0]))
        spare.remove(index)
        return [f"{name}: {'; '.join(differences)}"]
    return [] if name in broken else [f"{_shown(name, arguments)} not called"]


def _shown(name: str, arguments: Any) -> str:
    return f"{name}({', '.join(f'{key}={plain(value)}' for key, value in arguments.items())})"


def _json(text: str, or_else: Any = None) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return or_else
