"""The specs of the checks that schedules ask."""

from collections.abc import Sequence

import dagster as dg

from genai_pipeline.core.checks import UPKEEP_CHECKS
from genai_pipeline.core.model_spec import ModelSpec


def upkeep_specs(specs: Sequence[ModelSpec], asset: str, only: str = "") -> list[dg.AssetCheckSpec]:
    """Return the upkeep checks of `m/<asset>` for these models, or only one of them."""
    return [
        dg.AssetCheckSpec(name, asset=[spec.name, asset], description=question)
        for spec in specs
        for name, question in UPKEEP_CHECKS[asset].items()
        if only in ("", name)
    ]
