import math

import pytest

from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.loadtest.recheck import judge_while_asked

GATES = ServingGates.model_validate({"ttft_p95_ms": 800})


def reading(counts, kv=0.1, waiting=0.0):
    return EngineMetrics(kv, 0, waiting, 0, 0, 0, dict(zip((0.5, 1.0, math.inf), counts, strict=True)))


EMPTY = reading((0, 0, 0))


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (reading((40, 40, 40)), Outcome.PASSED),
        (reading((0, 40, 40)), Outcome.PASSED),  # somewhere between 500 and 1000 ms: it may be within the gate
        (reading((0, 0, 40)), Outcome.FAILED),
        (reading((40, 40, 40), kv=0.99), Outcome.FAILED),
        (reading((40, 40, 40), waiting=31), Outcome.FAILED),
        (reading((5, 5, 5)), Outcome.INCONCLUSIVE),
        (EMPTY, Outcome.INCONCLUSIVE),
    ],
)
def test_only_what_lies_above_a_gate_for_certain_fails(after, outcome):
    assert judge_while_asked(GATES, EMPTY, after).outcome is outcome


def test_only_what_was_observed_meanwhile_counts_also_after_a_restart():
    slow_before = reading((0, 0, 1000))
    assert judge_while_asked(GATES, slow_before, reading((40, 40, 1040))).outcome is Outcome.PASSED
    assert judge_while_asked(GATES, slow_before, reading((40, 40, 40))).outcome is Outcome.PASSED
