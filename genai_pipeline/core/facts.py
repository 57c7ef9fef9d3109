"""What the steps of a release's life remember about it: the section `facts` of its record.

Every section is optional, and one step writes it. Sections and fields are only added: a record from an older version
lacks some, and what a newer version added survives when this version changes the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class FactSection(BaseModel):
    """One section. Fields that this version does not know are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def figures(self) -> Mapping[str, Any]:
        """Return what was written, for a table: names as in the record's JSON."""
        return self.model_dump(exclude_unset=True)


class ServingFigures(FactSection):
    """What the load test measured. Times are in milliseconds; None: not measured.

    Written by m/serving_report; read by the watch over the next release, as its baseline.

    Args:
        latency_p95_ms: of whole requests; the baseline of a model that generates no tokens.
    """

    ttft_p95_ms: float | None = None
    latency_p95_ms: float | None = None
    inter_token_p95_ms: float | None = None


class AgentFigures(FactSection):
    """What the agent's suite measured. None: not measured, or written before the figure existed.

    Written by m/agent_report; read by the plot of pass rates over releases, and by the watch.

    Args:
        unsolved: names of cases that it did not solve; the watch does not ask them.
        results: address of the stored results.
    """

    suite: str | None = None
    cases: int | None = None
    solved: int | None = None
    not_measured: int | None = None
    unsolved: tuple[str, ...] = ()
    results: str | None = None


class ToolCallingFigures(FactSection):
    """What the tool-calling suite measured. Written by m/agent_report; shown only."""

    suite: str | None = None
    cases: int | None = None
    solved: int | None = None
    results: str | None = None


class Deployed(FactSection):
    """Which code rendered the objects of the release in the cluster.

    Written by m/candidate and by redeploys; read by the sensor `redeploys` and by the drift check.

    Args:
        version: of this package.
        fingerprint: digest of the rendered objects.
        agent: the settings of its agent, in the words of the chart's values.
    """

    version: str = "unknown"
    fingerprint: str = ""
    agent: Mapping[str, Any] | None = None


class NotedDrift(FactSection):
    """Differences that the hourly drift check found. Written by it; read by the sensor `redeploys`."""

    fingerprint: str
    reason: str
    at: str = ""


class RedeployAttempts(FactSection):
    """How often a redeploy for one cause was tried. Written and read by redeploys.

    Args:
        fingerprint: of the cause.
        failed: it ended with an error, and is not tried again for this cause.
    """

    fingerprint: str
    attempts: int
    failed: bool = False


class WatchSummary(FactSection):
    """What the watch over the release saw. Written at its end; read by the watch over the next one, as its baseline.

    Args:
        seconds: that were watched.
        looks, measured, wrong: how often the watch looked, measured anything, found something wrong.
        requests: that ended. error_rate: share of them that failed. kv_cache_peak: a share.
        ttft_p95_ms, inter_token_p95_ms, latency_p95_ms: milliseconds; the last one if no tokens are generated.
        canary_s: seconds of a short request, 95th percentile.
        until: the end of the watch that this is about, as in the pointer.
    """

    seconds: float = 0.0
    looks: int = 0
    measured: int = 0
    wrong: int = 0
    requests: float = 0.0
    error_rate: float | None = None
    ttft_p95_ms: float | None = None
    inter_token_p95_ms: float | None = None
    latency_p95_ms: float | None = None
    kv_cache_peak: float = 0.0
    queue_peak: float = 0.0
    canary_s: float | None = None
    until: str | None = None


class RollbackIntent(FactSection):
    """A rollback from this release was begun. Written before anything moves; read by whatever finishes it.

    Args:
        to: the release that gets the traffic. by: "watch" or a person's name.
    """

    to: str
    by: str = ""
    at: str = ""


class FinishingRuns(FactSection):
    """How many runs were requested to finish the rollback, and when the latest was. Written and read by the watch."""

    runs: int
    at: str


class Reevaluation(FactSection):
    """How the latest scheduled evaluation of the live release ended. Written and read by that schedule."""

    outcome: str
    at: str = ""


class Asleep(FactSection):
    """What its engine answered before it slept, to a fixed prompt. Written before it sleeps; compared after it woke.

    Args:
        seconds: until it slept. at: when.
    """

    answer: str
    at: str = ""
    seconds: float | None = None


class StagingFigures(FactSection):
    """What a staging measured. Written by m/staged_model, unless all was staged before; read by `genai plan`.

    Args:
        bytes: of all files, however they came. seconds: from the first file to the manifest.
    """

    bytes: int
    seconds: float


class CompileCache(FactSection):
    """Which archive of compiled code the pods of the release start from, and how that went at the candidate's start.

    Written by m/candidate, and by m/serving_report once it kept an archive; read by whatever renders the objects of
    the release. The sha256 here is the one that counts: the store may hold a newer archive.

    Args:
        key: of the archive. sha256: of the archive that is pinned; empty: none. size: its bytes.
        made_with: the versions that a pod compares with its own.
        hit: whether the candidate started from it; None: not known. reason: the same as one word. why: in words.
        seconds: that the restore took.
        kept: how the keeping of a new archive ended, in words; empty: it was not tried.
    """

    key: str = ""
    sha256: str = ""
    size: int = 0
    made_with: Mapping[str, str] = {}
    hit: bool | None = None
    reason: str = ""
    why: str = ""
    seconds: float | None = None
    kept: str = ""


class Facts(FactSection):
    """All sections. The names are those in the record's JSON.

    Args:
        strategy: how traffic moves: blue_green, recreate, or none where there is no room. Written by m/capacity; read
            by whatever starts, switches or stops a release.
        live_may_sleep: whether the release with the traffic may sleep, and need not stop, where the strategy is
            recreate. Written and read as `strategy`.
        redeploys: how many redeploys were begun, ever; it keeps their run keys unique.
        breached: `since` of the pointer for which a notice about a breach without a way back was written.
    """

    strategy: str = ""
    live_may_sleep: bool = False
    staging: StagingFigures | None = None
    serving: ServingFigures | None = None
    agent: AgentFigures | None = None
    tool_calling: ToolCallingFigures | None = None
    compile_cache: CompileCache | None = None
    deployed: Deployed | None = None
    drift: NotedDrift | None = None
    redeploy: RedeployAttempts | None = None
    redeploys: int = 0
    watch: WatchSummary | None = None
    breached: str = ""
    rollback: RollbackIntent | None = None
    finishing: FinishingRuns | None = None
    evaluated_again: Reevaluation | None = None
    asleep: Asleep | None = None

    def updated(self, changes: Self) -> Self:
        """Return these facts with the sections that were given to `changes`; a section given as None is removed."""
        return self.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)
