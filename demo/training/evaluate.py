"""Measure a revision on the held-out cases, through a running vLLM or, quickly, with transformers.

    python -m demo.training.evaluate --url http://127.0.0.1:8000/v1 [--stream] [--json figures.json]
    python -m demo.training.evaluate --model demo/hub/genai-demo/weather-agent/v1

A case is right when the calls are exactly those expected (in any order) and, given the tools' replies, the answer
contains every fact and calls nothing more.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from demo.training.cases import Case, cases
from demo.training.chat import Chat, LocalChat, Reply, VllmChat
from demo.training.conversation import calls_message
from demo.training.held_out import SETS


def calls_right(case: Case, reply: Reply) -> bool:
    """Right tools with exactly the right arguments."""
    expected = Counter((call.name, json.dumps(call.arguments, sort_keys=True)) for call in case.calls)
    return expected == Counter((name, json.dumps(arguments, sort_keys=True)) for name, arguments in reply.calls)


def answer_right(case: Case, reply: Reply) -> bool:
    """A closing text that begins as it should and contains every fact."""
    text = reply.content.casefold()
    return (
        bool(text)
        and not reply.calls
        and text.startswith(case.starts.casefold())
        and all(fact.casefold() in text for fact in case.facts)
    )


def measure(chat: Chat, all_cases: list[Case]) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Run every case; return the figures by kind and a line for every miss."""
    first = chat.complete([(case.messages(), case.tool_specs()) for case in all_cases])
    answered = [
        i
        for i, (case, reply) in enumerate(zip(all_cases, first, strict=True))
        if case.calls and calls_right(case, reply)
    ]
    follow_ups = [(messages_after_tools(all_cases[i]), all_cases[i].tool_specs()) for i in answered]
    final = dict(enumerate(first)) | dict(zip(answered, chat.complete(follow_ups), strict=True))
    figures: dict[str, dict[str, int]] = {}
    misses = []
    for i, case in enumerate(all_cases):
        row = figures.setdefault(case.kind, {"cases": 0, "calls": 0, "answers": 0})
        right_calls = calls_right(case, first[i])
        right = right_calls and answer_right(case, final[i])
        row["cases"], row["calls"], row["answers"] = (
            row["cases"] + 1,
            row["calls"] + right_calls,
            row["answers"] + right,
        )
        if not right:
            shown = final[i] if right_calls else first[i]
            misses.append(
                f"{case.kind}: {case.user!r} -> {shown.calls or repr(shown.content)}"
                + (f" given {case.results}" if right_calls and case.results else "")
            )
    return figures, misses


def messages_after_tools(case: Case) -> list[dict]:
    """The conversation once the expected calls were made and answered."""
    call = calls_message(case.calls, 9)
    results = [
        {"role": "tool", "tool_call_id": entry["id"], "content": result}
        for entry, result in zip(call["tool_calls"], case.results, strict=True)
    ]
    return [*case.messages(), call, *results]


def table_row(kind: str, row: dict[str, int]) -> str:
    """One line of the table."""
    shares = [f"{row[name]} ({row[name] / row['cases']:.1%})" for name in ("calls", "answers")]
    return f"| {kind} | {row['cases']} | {' | '.join(shares)} |"


def table(figures: dict[str, dict[str, int]]) -> str:
    """The figures as a Markdown table."""
    lines = ["| kind | cases | right calls | right calls and answer |", "| --- | --- | --- | --- |"]
    for kind, row in figures.items():
        lines.append(table_row(kind, row))
    total = {name: sum(row[name] for row in figures.values()) for name in ("cases", "calls", "answers")}
    return "\n".join([*lines, table_row("all", total)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="OpenAI-compatible endpoint, up to /v1")
    where.add_argument("--model", type=Path, help="a model folder, to decode with transformers")
    parser.add_argument("--name", default="weather-agent", help="the served model's name")
    parser.add_argument("--set", choices=SETS, default=SETS[0], help="which held-out set")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--misses", type=int, default=40, help="how many misses to print")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    chat = LocalChat(arguments.model) if arguments.model else VllmChat(arguments.url, arguments.name, arguments.stream)
    figures, misses = measure(chat, cases(arguments.set))
    print(table(figures), *misses[: arguments.misses], sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
