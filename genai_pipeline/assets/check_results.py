"""Verdicts as the results of Dagster's checks. Failed is an error; what could not be measured is a warning."""

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from genai_pipeline.assets.tables import shown
from genai_pipeline.core.verdict import Outcome, Verdict


def severity_of(verdict: Verdict) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if verdict.outcome is Outcome.FAILED else dg.AssetCheckSeverity.WARN


def check_result(key: Sequence[str], verdict: Verdict, **metadata: Any) -> dg.AssetCheckResult:
    """Return the result of one check of an asset, with its evidence as tables."""
    return dg.AssetCheckResult(
        asset_key=list(key),
        check_name=verdict.check,
        passed=verdict.passed,
        severity=severity_of(verdict),
        description=verdict.summary,
        metadata={"outcome": str(verdict.outcome), **shown(verdict.evidence), **metadata},
    )


def check_evaluation(key: Sequence[str], verdict: Verdict, **metadata: Any) -> dg.AssetCheckEvaluation:
    """Return the same for a sensor, which reports without a run."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(key),
        check_name=verdict.check,
        passed=verdict.passed,
        severity=severity_of(verdict),
        description=verdict.summary,
        metadata={"outcome": str(verdict.outcome), **shown(verdict.evidence), **metadata},
    )


def end_if_unmeasured(verdicts: Iterable[Verdict]) -> None:
    """Raises: dg.Failure: a check was inconclusive. To Dagster a warning blocks nothing, so the step has to end."""
    if unmeasured := [verdict.check for verdict in verdicts if verdict.outcome is Outcome.INCONCLUSIVE]:
        raise dg.Failure(f"These checks could not be measured: {', '.join(unmeasured)}.", allow_retries=False)
