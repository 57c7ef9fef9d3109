from __future__ import annotations

from dataclasses import replace

from genai_pipeline.core.verdict import Outcome
from genai_pipeline.loadtest.probe import KINDS, ProbeResult, judge_probe

HEALTHY = ProbeResult(
    sent=dict.fromkeys(KINDS, 20),
    failed=dict.fromkeys(KINDS, 0),
    causes={},
    models={"m": 40},
    roots={"s3://b/old/": 3, "s3://b/new/": 5},
    skipped=0,
    longest_gap_s=0.2,
)


def test_no_failure_in_many_requests_passes():
    assert judge_probe(HEALTHY).outcome is Outcome.PASSED


def test_one_failure_of_either_kind_fails_and_names_the_cause():
    for kind in KINDS:
        verdict = judge_probe(replace(HEALTHY, failed=HEALTHY.failed | {kind: 1}, causes={"HTTP 503": 1}))

        assert verdict.outcome is Outcome.FAILED
        assert "1 of 40" in verdict.summary
        assert "HTTP 503" in verdict.summary


def test_hardly_any_request_of_one_kind_proves_nothing():
    few = replace(HEALTHY, sent=HEALTHY.sent | {"keep-alive": 4})

    assert judge_probe(few).outcome is Outcome.INCONCLUSIVE


def test_a_failure_among_few_requests_is_a_failure():
    few = replace(HEALTHY, sent=dict.fromkeys(KINDS, 1), failed=dict.fromkeys(KINDS, 1), causes={"refused": 2})

    assert judge_probe(few).outcome is Outcome.FAILED
