"""What the assets platform/* have in common: their check specs, and verdicts as a result."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from genai_pipeline.assets.check_results import check_result, end_if_unmeasured
from genai_pipeline.core.checks import PLATFORM_CHECKS
from genai_pipeline.core.verdict import Verdict

GROUP = "platform"


_HOLDS_NOTHING = ("model_files", "chat_ui")
"""A wrong model file takes nothing with it but itself, and nothing comes after the chat page."""


_HOLDS = {"observability": ("metrics_readable",)}
"""A rollout needs figures of its engine. Whether people see them on a dashboard is another matter."""


def _blocks(asset: str, check: str) -> bool:
    return asset not in _HOLDS_NOTHING and check in _HOLDS.get(asset, (check,))


def check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """All blocking but those that hold nothing."""
    return [
        dg.AssetCheckSpec(name, asset=[GROUP, asset], description=question, blocking=_blocks(asset, name))
        for name, question in PLATFORM_CHECKS[asset].items()
    ]


def result(asset: str, verdicts: Sequence[Verdict], **metadata: Any) -> Iterator[dg.MaterializeResult]:
    """Yield the materialization with its checks. Raises: dg.Failure: a check that blocks could not be measured."""
    checks = [check_result((GROUP, asset), verdict) for verdict in verdicts]
    yield dg.MaterializeResult(metadata=metadata, check_results=checks)
    end_if_unmeasured(verdict for verdict in verdicts if _blocks(asset, verdict.check))
