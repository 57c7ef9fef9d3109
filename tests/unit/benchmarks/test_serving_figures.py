"""What the benchmarks of serving make of what they measured."""

from __future__ import annotations

import pytest

from benchmarks.serving_clients import FIGURES, differs, summary
from benchmarks.serving_gpu import figures, table
from genai_pipeline.loadtest.summary import Observation


def pair(ours: float, theirs: float, slower: float = 1.0) -> dict[str, dict[str, float]]:
    mine = dict.fromkeys(FIGURES, ours)
    return {"ours": mine | {"tokens_per_s": ours / slower}, "theirs": dict.fromkeys(FIGURES, theirs)}


def test_ratios_are_within_a_pair_because_a_machine_drifts():
    found = summary([pair(100, 100), pair(50, 50), pair(200, 200), pair(300, 100)])

    assert found["ttft_p50_ms"]["ratio"] == 1.0
    assert (found["ttft_p50_ms"]["from"], found["ttft_p50_ms"]["to"]) == (1.0, 1.0)
    assert differs(found) == []


@pytest.mark.parametrize(
    ("pairs", "wrong"),
    [
        ([pair(100, 100, slower=1.04)], []),
        ([pair(100, 100, slower=1.06)], ["tokens_per_s"]),
        ([pair(106, 100)], ["ttft_p50_ms", "ttft_p95_ms"]),
        ([pair(94, 100)], ["tokens_per_s", "ttft_p50_ms", "ttft_p95_ms"]),
    ],
)
def test_less_tokens_and_another_ttft_are_noticed(pairs: list[dict[str, dict[str, float]]], wrong: list[str]):
    assert differs(summary(pairs)) == wrong


def test_only_the_step_at_the_concurrency_counts():
    below = Observation(0, 1, 0.0, 9.0, ttft_s=5.0, completion_tokens=1000)
    seen = [below, *(Observation(n, 20, 10.0, 2.0, ttft_s=0.2, completion_tokens=100) for n in range(40))]
    broken = Observation(99, 20, 10.0, 2.0, error="HTTP 500")

    assert figures(20, [*seen, broken]) == {
        "streams": 20, "requests": 41, "failed": 1, "tokens_per_s": 2000.0, "ttft_p50_ms": 200.0, "ttft_p95_ms": 200.0,
    }  # fmt: skip


def test_the_table_has_a_line_for_each_configuration_and_concurrency():
    steps = [
        {"streams": n, "tokens_per_s": 10.0 * n, "ttft_p50_ms": None, "ttft_p95_ms": 3.0, "throttling": "capped"}
        for n in (1, 64)
    ]
    rows = [{"configuration": name, "after": steps} for name in ("product", "vllm")]

    lines = table([*rows, {"configuration": "vllm", "error": "ended"}]).splitlines()

    assert [tuple(line.split()[:4]) for line in lines[1:]] == [
        ("product", "1", "10.0", "-"),
        ("product", "64", "640.0", "-"),
        ("vllm", "1", "10.0", "-"),
        ("vllm", "64", "640.0", "-"),
    ]
    assert lines[1].endswith("capped")
