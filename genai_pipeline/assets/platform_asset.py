"""What the assets platform/* have in common: their check specs, and verdicts as a result."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from genai_pipeline.assets.tables import shown
from genai_pipeline.core.checks import PLATFORM_CHECKS
from genai_pipeline.core.verdict import Verdict

GROUP = "platform"


_HOLDS_NOTHING = ("model_files", "chat_ui")
"""A wrong model file takes nothing with it but itself, and nothing comes after the chat page."""


def check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """All blocking but those of assets that hold nothing."""
    return [
        dg.AssetCheckSpec(name, asset=[GROUP, asset], description=question, blocking=asset not in _HOLDS_NOTHING)
        for name, question in PLATFORM_CHECKS[asset].items()
    ]


def result(asset: str, verdicts: Sequence[Verdict], **metadata: Any) -> dg.MaterializeResult:
    """The materialization of platform/<asset> with its checks; evidence as tables."""
    checks = [
        dg.AssetCheckResult(
            asset_key=[GROUP, asset],
            check_name=v.check,
            passed=v.passed,
            description=v.summary,
            metadata={"outcome": str(v.outcome), **shown(v.evidence)},
        )
        for v in verdicts
    ]
    return dg.MaterializeResult(metadata=metadata, check_results=checks)
