"""A conversation in a form for people: prompts, answers and tool calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


def turn_of(messages: Sequence[Any], ms: Sequence[float], at: float) -> dict[str, Any]:
    """Return one turn, made from its messages.

    Args:
        ms: duration of each tool call in milliseconds, in the order of the calls.
        at: Unix time of its end.
    """
    uses = [block["toolUse"] for message in messages for block in message["content"] if "toolUse" in block]
    results = [block["toolResult"] for message in messages for block in message["content"] if "toolResult" in block]
    times = [*ms, *[0.0] * (len(uses) - len(ms))]
    tools = [
        {"name": use["name"], "arguments": use["input"] or {}, "status": _status(result), "ms": took}
        for use, result, took in zip(uses, _in_order(uses, results), times, strict=False)
    ]
    return {
        "at": moment(at),
        "prompt": _text(messages[0]) if messages else "",
        "response": _text(messages[-1]).strip() if messages else "",
        "tools": tools,
    }


def moment(unix_time: float) -> str:
    """Return a time as `2026-11-24T14:32:05.123Z`."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _in_order(uses: Sequence[Any], results: Sequence[Any]) -> list[Any]:
    """Match results to calls. Results come as tools end, and some models use the same ids in each completion."""
    left, ordered = list(results), []
    for use in uses:
        found = next((r for r in left if r["toolUseId"] == use["toolUseId"]), None)
        if found is not None:
            left.remove(found)
        ordered.append(found)
    return ordered


def _status(result: Any) -> str:
    return result["status"] if result else "unfinished"


def _text(message: Any) -> str:
    return "\n".join(block["text"] for block in message["content"] if "text" in block)
