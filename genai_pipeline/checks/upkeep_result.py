"""What the checks that schedules ask have in common: their specs, and a verdict as a result outside of a rollout."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from genai_pipeline.assets.tables import shown
from genai_pipeline.core.checks import UPKEEP_CHECKS
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Outcome, Verdict


def upkeep_specs(specs: Sequence[ModelSpec], asset: str) -> list[dg.AssetCheckSpec]:
    """The upkeep checks of `m/<asset>` for these models."""
    return [
        dg.AssetCheckSpec(name, asset=[spec.name, asset], description=question)
        for spec in specs
        for name, question in UPKEEP_CHECKS[asset].items()
    ]


def upkeep_result(model: str, asset: str, verdict: Verdict, release: str, **metadata: Any) -> dg.AssetCheckResult:
    """Failed is an error; what could not be measured is a warning, and is not passed either."""
    return dg.AssetCheckResult(
        asset_key=[model, asset],
        check_name=verdict.check,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR if verdict.outcome is Outcome.FAILED else dg.AssetCheckSeverity.WARN,
        description=verdict.summary,
        metadata={"release": release, "outcome": str(verdict.outcome), **shown(verdict.evidence), **metadata},
    )
