"""One side of a comparison: a release that runs and is asked now, or its stored results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genai_pipeline.core.errors import GenaiError, NotFound
from genai_pipeline.core.gates import Gates
from genai_pipeline.core.purpose import calls_tools
from genai_pipeline.core.record import Record
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.evaluation.evaluate import EvaluationSettings, evaluate, measure_tool_calls
from genai_pipeline.evaluation.llm_judge import judge_for, judge_from_env
from genai_pipeline.evaluation.results import BrokenResults, Results, ResultsStore
from genai_pipeline.evaluation.runner import CONCURRENCY
from genai_pipeline.evaluation.suite_files import load_suite
from genai_pipeline.evaluation.tool_suite import ToolSuite
from genai_pipeline.evaluation.verdicts import judge_success
from genai_pipeline.k8s.render import release_alias
from genai_pipeline.resources.engines import Engines


@dataclass(frozen=True)
class EvaluatedRelease:
    """The results of one release.

    Args:
        name: model@release, with a mark if it is live.
        source: where the results come from, in words.
        problem: why there are no results.
    """

    name: str
    results: Results | None = None
    source: str = ""
    verdicts: Sequence[Verdict] = ()
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        about: dict[str, Any] = {"name": self.name, "source": self.source, "problem": self.problem}
        if self.results is None:
            return about
        results = self.results
        figures = {"solved": results.solved, "measured": results.measured, "pass_rate": results.pass_rate}
        cases = [case.to_json() | {"solved": case.solved, "flaky": case.flaky} for case in results.cases]
        about |= {"model": results.model, "release": results.release, "at": results.at, "digest": results.digest}
        return about | figures | {"flaky": results.flaky, "cases": cases}


class ReleaseEvaluator:
    """Puts releases through one suite, or finds their stored results.

    Args:
        suite: name or path; None: the one of the model file.
        stored_only: ask no release.
    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """

    def __init__(
        self,
        engines: Engines,
        gates: Gates,
        suite: str | None,
        repeat: int | None,
        stored_only: bool,
        say: Callable[[str], None],
    ) -> None:
        self.gates = gates
        self._engines, self._repeat, self._stored_only, self._say = engines, repeat, stored_only, say
        self._suite = load_suite(suite or gates.agent.suite)
        self._results = ResultsStore(engines.gateways.store)

    @property
    def suite_name(self) -> str:
        return self._suite.name

    def side(self, record: Record, like: Results | None = None) -> EvaluatedRelease:
        """Return the results of a release: asked now if it runs, else as stored.

        Args:
            like: the results to compare it with; stored results that can be compared are used without asking.
        """
        name, stored = self._name(record), self._stored(record)
        usable = stored is not None and (like is None or not stored.why_not_like(like))
        if like is not None and usable and stored and stored.measured == len(stored.cases):
            return self._from_store(name, stored)
        url = "" if self._stored_only else self._url(record)
        if url:
            return self._asked(name, record, url)
        if stored is not None and usable:
            return self._from_store(name, stored)
        return EvaluatedRelease(name, problem=self._why_nothing(name, record, stored, like))

    def _from_store(self, name: str, stored: Results) -> EvaluatedRelease:
        verdicts = [judge_success(stored.cases, self._least())]
        return EvaluatedRelease(name, stored, f"stored, asked {stored.at}", verdicts)

    def _why_nothing(self, name: str, record: Record, stored: Results | None, like: Results | None) -> str:
        why = f"its results of {stored.at} cannot be compared: {stored.why_not_like(like)}" if stored and like else ""
        why = why or f"it has no stored results for the suite {self.suite_name}"
        if never := self._never_asked(record):
            return f"{name} cannot go through the suite {self.suite_name}: {never}."
        runs = "is not asked (--stored)" if self._stored_only else "does not run"
        return f"{name} {runs}, and {why}. Only a live release or a candidate can be asked."

    def _asked(self, name: str, record: Record, url: str) -> EvaluatedRelease:
        self._say(f"{name}: its {'engine' if isinstance(self._suite, ToolSuite) else 'agent'} runs and is asked")
        settings = EvaluationSettings(
            self._concurrency(record), self._repeat, usd_per_million_tokens=record.usd_per_million_tokens
        )
        if isinstance(self._suite, ToolSuite):
            alias = release_alias(record.as_release)  # no other release answers to it
            found = measure_tool_calls(url, alias, self._suite, settings, self._say)
            verdicts: Sequence[Verdict] = [judge_success(found.cases, self._least())]
        else:
            judge = judge_for(self.gates.agent) or judge_from_env()
            settings = replace(settings, weather_url=self._engines.profile.weather_url, judge=judge)
            report = evaluate(url, self._suite, self.gates.agent, settings, self._say)
            assert report.results
            found, verdicts = report.results, report.verdicts
        results = replace(found, model=record.model, release=record.release)
        return EvaluatedRelease(name, results, f"asked now{self._kept(results)}", verdicts)

    def _least(self) -> float:
        """Return the gate for this kind of suite; 0 where the model file sets no gate."""
        gates = self.gates.agent
        tools = isinstance(self._suite, ToolSuite)
        return (gates.tool_calling_min or 0.0) if tools else gates.task_success_min

    def _kept(self, results: Results) -> str:
        """Store complete results for the next comparison; return a note if the store refuses them."""
        if results.measured < len(results.cases):
            return ""
        try:
            self._results.write(results)
        except GenaiError as error:
            return f", not stored: {error}"
        return ""

    def _concurrency(self, record: Record) -> int:
        """Return how many conversations are held at once; fewer with a live release, which serves users."""
        limit = self.gates.conversations
        return min(limit, CONCURRENCY) if self._is_live(record) else limit

    def _is_live(self, record: Record) -> bool:
        live = self._engines.records().live(record.model)
        return live is not None and live.release == record.release

    def _name(self, record: Record) -> str:
        return f"{record.model}@{record.release}" + (" (live)" if self._is_live(record) else "")

    def _url(self, record: Record) -> str:
        """Return the address where it can be asked, or an empty text if it does not run."""
        component = "engine" if isinstance(self._suite, ToolSuite) else "agent"
        candidates, release = self._engines.candidates(), record.as_release
        if self._never_asked(record):
            return ""
        if self._is_live(record):
            return self._engines.traffic().url(record.model, component) or ""
        up, url = {
            "engine": (candidates.is_up, candidates.engine_url),
            "agent": (candidates.agent_is_up, candidates.agent_url),
        }[component]
        try:
            return url(release) if up(release) else ""
        except NotFound:
            return ""

    def _never_asked(self, record: Record) -> str:
        """Return why no release like this one can go through the suite, or an empty text where one can."""
        spec = record.model_spec
        if isinstance(self._suite, ToolSuite):
            return "" if calls_tools(spec.serving) else "its engine has no tool-call parser"
        return "" if spec.has_agent else "it has no agent"

    def _stored(self, record: Record) -> Results | None:
        try:
            return self._results.read(record.model, record.release, self.suite_name)
        except BrokenResults as error:
            self._say(f"{self._name(record)}: {error}")
            return None
