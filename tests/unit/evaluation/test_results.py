"""Results as they lie in the store, and what two of them say about each other."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise

import pytest

from genai_pipeline.core.verdict import Outcome
from genai_pipeline.evaluation.comparison import Comparison, judge_not_worse
from genai_pipeline.evaluation.outcome import CaseOutcome, RunOutcome
from genai_pipeline.evaluation.pass_rate_chart import MOST_POINTS, RatePoint, pass_rate_chart, svg
from genai_pipeline.evaluation.results import BrokenResults, Results, ResultsStore, results_key
from genai_pipeline.rollout.record.records import Records
from tests.fakes.store import MemoryStore

TURN = {"prompt": "Wetter in Zürich?", "response": "12°C\n", "calls": [], "seconds": 0.5}


def case(name: str, *solved: bool | None, weight: float = 1.0) -> CaseOutcome:
    runs = [
        RunOutcome(
            one, one, "" if one else "no answer" if one is None else "invents 99°", 0.5, (0.2,), 100, 50, (TURN,)
        )
        for one in solved
    ]
    return CaseOutcome(name, ("weather", "süd"), weight, tuple(runs))


def results(*cases: CaseOutcome, release: str = "r2") -> Results:
    return Results("weather", "d" * 64, cases, "2026-11-25T10:00:00Z", "tiny", release, usd_per_million_tokens=2.0)


def many(solved: int, unsolved: int = 0, unknown: int = 0, release: str = "r2") -> Results:
    found = [True] * solved + [False] * unsolved + [None] * unknown
    return results(*(case(f"case-{i}", one) for i, one in enumerate(found)), release=release)


def test_a_header_and_a_line_for_each_run_come_back_as_they_were():
    mine = results(case("a", True, False, weight=2.0), case("b", None))

    header, *lines = [json.loads(line) for line in mine.to_jsonl().decode().splitlines()]

    assert (header["kind"], header["cases"], header["solved"], header["digest"]) == ("header", 2, 0, "d" * 64)
    assert header["sampling"] == {"temperature": 0.0, "seed": None}
    assert [(line["case"], line["run"], line["solved"]) for line in lines] == [
        ("a", 1, True),
        ("a", 2, False),
        ("b", 1, None),
    ]
    assert lines[0]["cost_usd"] == pytest.approx(0.0001)
    assert lines[0]["transcript"] == [TURN]
    assert Results.from_jsonl(mine.to_jsonl()) == mine


@pytest.mark.parametrize("said", ["a\u2028b\x85c\x0bd\re", "half an emoji: \ud83d", "\x00"])
def test_whatever_a_model_says_comes_back(said: str):
    odd = replace(case("a", True).runs[0], transcript=(TURN | {"response": said},))
    mine = results(replace(case("a", True), runs=(odd,)))

    assert Results.from_jsonl(mine.to_jsonl()) == mine


def test_what_is_stored_twice_is_stored_once_and_beside_the_records():
    memory = MemoryStore()
    store = ResultsStore(memory)

    address = store.write(many(3, release="r1"))
    assert store.write(many(4, release="r1")) == address

    assert [o.key for o in memory.list("")] == [results_key("tiny", "r1", "weather")]
    assert store.read("tiny", "r1", "weather") == many(4, release="r1")
    assert store.read("tiny", "r2", "weather") is None
    assert Records(memory).all("tiny") == []
    assert Records(memory).models() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]\n",
        b"\xff",
        many(2).to_jsonl()[:-9],
        b'{"kind": "header", "schema": 99}\n',
        b"".join(many(2).to_jsonl().splitlines(keepends=True)[:-1]),
        many(2).to_jsonl() + many(2).to_jsonl().splitlines(keepends=True)[-1],
        many(2).to_jsonl().replace(b'"solved": true', b'"solved": false'),
        many(2).to_jsonl().replace(b'"solved": true', b'"solved": "yes"'),
        many(2).to_jsonl().replace(b'"weight": 1.0', b'"weight": NaN'),
        many(2).to_jsonl().replace(b'"seconds": 0.5, "cycles', b'"seconds": "0.5", "cycles'),
        many(2).to_jsonl().replace(b'"usd_per_million_tokens": 2.0', b'"usd_per_million_tokens": "2"'),
    ],
    ids=[
        "empty",
        "no header",
        "a list",
        "no text",
        "cut in a line",
        "other schema",
        "cut between",
        "twice",
        "changed",
        "yes",
        "NaN",
        "text",
        "price",
    ],
)
def test_what_cannot_be_read_is_said_and_never_taken_for_results(body: bytes):
    with pytest.raises(BrokenResults, match="Evaluate the release again"):
        Results.from_jsonl(body)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"digest": "e" * 64}, "another version of the suite"),
        ({"suite": "other"}, "another version of the suite"),
        ({"scoring": 0}, "scored by other rules"),
        ({"judge": {"model": "m"}}, "by the same judge"),
        ({"cases": many(2).cases}, "other cases"),
        ({"cases": tuple(case(c.name, True, True) for c in many(3).cases)}, "another number of runs"),
        ({"at": "2020-01-01T00:00:00Z", "release": "r1", "seconds": 9.0}, ""),
    ],
)
def test_results_are_compared_only_with_their_like(change: dict, why: str):
    told = replace(many(3), **change).why_not_like(many(3))

    assert why in told if why else not told


def against(mine: list[bool | None], live: list[bool | None]) -> Comparison:
    each = [
        results(*(case(f"case-{i}", one) for i, one in enumerate(found)), release=r)
        for found, r in ((mine, "r2"), (live, "r1"))
    ]
    return Comparison(*each)


@pytest.mark.parametrize(
    ("lost", "gained", "same", "unknown", "outcome"),
    [
        (0, 0, 20, 0, "passed"),
        (4, 0, 20, 0, "passed"),  # p = 0.0625
        (5, 0, 20, 0, "failed"),  # p = 0.03125
        (5, 5, 20, 0, "passed"),
        (9, 3, 20, 0, "passed"),  # p = 0.073
        (10, 3, 20, 0, "failed"),  # p = 0.0461
        (0, 9, 0, 0, "passed"),
        (4, 0, 20, 1, "inconclusive"),
        (8, 0, 20, 1, "failed"),
        (0, 0, 20, 3, "passed"),
        (0, 0, 0, 20, "inconclusive"),
        (0, 0, 0, 0, "inconclusive"),
    ],
)
def test_worse_is_what_chance_does_not_explain(lost: int, gained: int, same: int, unknown: int, outcome: str):
    mine = [False] * lost + [True] * gained + [True] * same + [None] * unknown
    live = [True] * lost + [False] * gained + [True] * same + [True] * unknown

    verdict = judge_not_worse(against(mine, live))

    assert verdict.outcome == outcome, verdict.summary
    assert (verdict.evidence["lost"], verdict.evidence["gained"]) == (lost, gained)


def test_of_what_was_not_measured_live_nothing_is_known_even_if_all_was_solved():
    assert judge_not_worse(against([True] * 9, [None] * 9)).outcome is Outcome.INCONCLUSIVE


def test_the_flipped_cases_are_named_with_the_reason_losses_first():
    mine, live = [True, False, True, False], [True, True, False, False]

    verdict = judge_not_worse(against(mine, live), 0.05, "The live release r1")

    assert [
        (row["case"], row["flipped"], row["solved"], row["live_solved"]) for row in verdict.evidence["flipped"]
    ] == [
        ("case-1", "lost", "0 of 1", "1 of 1"),
        ("case-2", "gained", "1 of 1", "0 of 1"),
    ]
    assert verdict.evidence["flipped"][0]["reason"] == "invents 99°"
    assert verdict.summary.startswith("The live release r1 solves 1 of 4 cases that this release does not; ")
    assert "Lost: case-1." in verdict.summary


def test_a_flaky_case_is_lost_and_shown_as_flaky():
    flaky = Comparison(results(case("a", True, False, True)), results(case("a", True, True, True), release="r1"))

    (row,) = judge_not_worse(flaky).evidence["flipped"]

    assert (row["flipped"], row["solved"]) == ("lost", "2 of 3 (flaky)")


def test_the_alpha_decides_how_sure_worse_must_be():
    comparison = against([False] * 5 + [True] * 9, [True] * 14)

    assert judge_not_worse(comparison, 0.05).outcome is Outcome.FAILED
    assert judge_not_worse(comparison, 0.01).outcome is Outcome.PASSED


def test_the_plot_draws_the_newest_releases_the_gate_and_what_is_live():
    points = [RatePoint(f"{i:012d}-abcdef", 54, 60, live=i == 29) for i in range(30)]

    drawn = svg([*points, RatePoint("unmeasured", 0, 0)], 0.9)

    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    assert drawn.count("<circle") == MOST_POINTS
    assert "gate 90%" in drawn
    assert drawn.count(">live<") == 1
    assert pass_rate_chart(points, 0.9).startswith("![Share of cases solved over releases](data:image/svg+xml;base64,")
    assert pass_rate_chart([], 0.9) == ""


@pytest.mark.parametrize("releases", [1, 2, 14, 40])
def test_the_names_of_many_releases_do_not_stand_in_each_other(releases: int):
    drawn = svg([RatePoint(f"{i:06d}abcdef-abcdef", 9, 10) for i in range(releases)], 0.9)

    found = [(float(x), name) for x, name in re.findall(r'<text x="([\d.]+)"[^>]*>(\d{6})<', drawn)]
    places = sorted(x for x, _ in found)
    assert all(after - before >= 40 for before, after in pairwise(places))
    assert max(found)[1] == f"{releases - 1:06d}"
