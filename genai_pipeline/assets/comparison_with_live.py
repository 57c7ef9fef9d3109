"""Compare a candidate's evaluation with what is live, and keep its results for the next comparison."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Verdict, inconclusive
from genai_pipeline.resources.engines import Engines

if TYPE_CHECKING:
    from genai_pipeline.evaluation.evaluate import Baseline
    from genai_pipeline.evaluation.results import Results


def baseline_of(engines: Engines, release: Release, suite: str, log: Callable[[str], None]) -> "Baseline":
    """Return the live release, its stored results, and where it can be asked again."""
    from genai_pipeline.evaluation.evaluate import Baseline
    from genai_pipeline.evaluation.results import BrokenResults, ResultsStore
    from genai_pipeline.evaluation.suite_files import load_agent_suite

    live = engines.records().live(release.model)
    if live is None or live.release == release.id:
        return Baseline(live.release if live else None, itself=live is not None)
    if not engines.records().require(release.model, live.release).as_release.has_agent:
        return Baseline(live.release, has_agent=False)
    results, stored = ResultsStore(engines.gateways.store), None
    try:
        stored = results.read(release.model, live.release, load_agent_suite(suite).name)
    except BrokenResults as error:
        log(f"of {live.release}: {error}")
    url = engines.traffic().url(release.model, "agent") or ""
    return Baseline(live.release, url, stored, keep=lambda asked: results.write(replace(asked, model=release.model)))


def inconclusive_if_moved(
    engines: Engines, model: str, baseline: "Baseline", verdicts: Sequence[Verdict]
) -> list[Verdict]:
    """Return the verdicts. The comparison is inconclusive if another release got the traffic meanwhile."""
    from genai_pipeline.evaluation.comparison import CHECK

    live = engines.records().live(model)
    now = live.release if live else None
    if now == baseline.release:
        return list(verdicts)
    why = f"{baseline.release or 'No release'} was live during the comparison, and now {now or 'no release'} is."
    return [inconclusive(CHECK, why) if v.check == CHECK else v for v in verdicts]


def keep(engines: Engines, release: Release, results: "Results | None", only_whole: bool = False) -> dict[str, Any]:
    """Store results if anything was measured, or only if everything was. Return where they are."""
    from genai_pipeline.evaluation.results import ResultsStore

    least = len(results.cases) if results and only_whole else 1
    if results is None or results.measured < least:
        return {}
    mine = replace(results, model=release.model, release=release.id)
    return {"results": ResultsStore(engines.gateways.store).write(mine)}
