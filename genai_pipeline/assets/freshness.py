"""How old a proof may get: the schedule that evaluates what is live keeps m/live and the two reports fresh.

Fresh is what Dagster takes it for: the newest materialization of an asset, of whichever partition, is no older than the
window. So it fails where the schedule is off, is stuck, or could not measure, which would otherwise look like peace.
"""

from datetime import datetime, timedelta
from functools import cache
from itertools import islice, pairwise

import dagster as dg
from croniter import croniter

from genai_pipeline.core.model_spec import ModelSpec

KEPT_FRESH = frozenset({"live", "serving_report", "agent_report"})
LATE = timedelta(hours=1)
"""For the run itself, and for the hour that a night may have more."""
FROM, TICKS = datetime.fromisoformat("2026-01-01T00:00:00+00:00"), 2000


def freshness_of(spec: ModelSpec, asset: str) -> dg.FreshnessPolicy | None:
    """A warning after one evaluation that did not come, a failure after two, or None without evaluations."""
    if asset not in KEPT_FRESH or spec.refresh.evaluation is None or not spec.has_agent:
        return None
    gap = _longest_gap(spec.refresh.evaluation)
    return dg.FreshnessPolicy.time_window(fail_window=2 * gap + LATE, warn_window=gap + LATE)


@cache
def _longest_gap(cron: str) -> timedelta:
    """Between two ticks, on clocks that do not jump."""
    ticks = islice(croniter(cron, FROM).all_next(datetime), TICKS)
    return max(after - before for before, after in pairwise(ticks))
