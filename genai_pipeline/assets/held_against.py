"""What a candidate's evaluation is held against, and where its results are kept for the next one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Verdict, inconclusive
from genai_pipeline.resources.engines import Engines

if TYPE_CHECKING:
    from genai_pipeline.evaluation.evaluate import Against
    from genai_pipeline.evaluation.results import Results


def against_live(engines: Engines, release: Release, suite: str, say: Callable[[str], None]) -> "Against":
    """Return the live release, its stored results, and where it can be asked again."""
    from genai_pipeline.evaluation.evaluate import Against
    from genai_pipeline.evaluation.results import BrokenResults, ResultsStore
    from genai_pipeline.evaluation.suite_files import load_agent_suite

    live = engines.records().live(release.model)
    if live is None or live.release == release.id:
        return Against(live.release if live else None, itself=live is not None)
    results, stored = ResultsStore(engines.gateways.store), None
    try:
        stored = results.read(release.model, live.release, load_agent_suite(suite).name)
    except BrokenResults as error:
        say(f"of {live.release}: {error}")
    url = engines.traffic().url(release.model, "agent") or ""
    return Against(live.release, url, stored, keep=lambda asked: results.write(replace(asked, model=release.model)))


def unless_it_moved(engines: Engines, model: str, against: "Against", verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts; the one against live is inconclusive if another release got the traffic meanwhile."""
    from genai_pipeline.evaluation.comparison import CHECK

    live = engines.records().live(model)
    now = live.release if live else None
    if now == against.release:
        return list(verdicts)
    why = f"{against.release or 'nothing'} was live when it was held against it, and now {now or 'nothing'} is."
    return [inconclusive(CHECK, why) if v.check == CHECK else v for v in verdicts]


def keep(engines: Engines, release: Release, results: "Results | None", only_whole: bool = False) -> dict[str, Any]:
    """Write results down if anything was measured, or only if everything was; returns where they are."""
    from genai_pipeline.evaluation.results import ResultsStore

    least = len(results.cases) if results and only_whole else 1
    if results is None or results.measured < least:
        return {}
    mine = replace(results, model=release.model, release=release.id)
    return {"results": ResultsStore(engines.gateways.store).write(mine)}
