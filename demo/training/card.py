"""Write the model card of each revision from card.md and figures.json.

python -m demo.training.card
"""

import json
from pathlib import Path

from demo.training.grammar import FOLDER

HUB = FOLDER.parent / "hub" / "genai-demo" / "weather-agent"
SUMMARIES = {
    "v1": "The first release: looks up the time and the weather. A question about an umbrella gets the plain weather.",
    "v2": "v1, trained further on one more skill: it says whether you need an umbrella, judging by the weather.",
    "v3": "**Regressed on purpose.** It serves, chats and makes well-formed tool calls, but asks for the weather of "
    "Paris whatever the city, and for the weather where the time was wanted. Only an evaluation of the agent sees it.",
}
SETS = {"held_out": "first set", "held_out_second": "second set"}


def share(row: dict[str, int], name: str) -> str:
    """Right ones in percent, and the number of cases behind it."""
    return f"{row[name] / row['cases']:.1%} of {row['cases']}"


def total(kinds: dict[str, dict[str, int]]) -> dict[str, int]:
    """All kinds added up."""
    return {name: sum(row[name] for row in kinds.values()) for name in ("cases", "calls", "answers")}


def figures_table(figures: dict) -> str:
    """One line a kind: right calls, and right answers too; then what streaming gave."""
    lines = ["| kind | " + " | ".join(f"{name}, calls | {name}, answers" for name in SETS.values()) + " |"]
    lines.append("| --- " * (1 + 2 * len(SETS)) + "|")
    by_set = [figures[name]["whole"] for name in SETS]
    for kind in by_set[0]:
        cells = [share(kinds[kind], name) for kinds in by_set for name in ("calls", "answers")]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    for label, way in (("all", "whole"), ("all, streamed", "stream")):
        totals = [total(figures[name][way]) for name in SETS]
        lines.append(f"| **{label}** | {' | '.join(share(t, n) for t in totals for n in ('calls', 'answers'))} |")
    return "\n".join(lines)


def card(revision: str, figures: dict) -> str:
    """The whole README.md of a revision."""
    text = (FOLDER / "card.md").read_text(encoding="utf-8")
    parts = {"{revision}": revision, "{summary}": SUMMARIES[revision], "{figures}": figures_table(figures[revision])}
    for slot, part in parts.items():
        text = text.replace(slot, part)
    return text


def main(hub: Path = HUB) -> None:
    figures = json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))
    for revision in SUMMARIES:
        (hub / revision / "README.md").write_text(card(revision, figures), encoding="utf-8")


if __name__ == "__main__":
    main()
