"""Ask a candidate's engine itself the tool-calling suite, where the model file has a gate for it."""

from typing import Any

from genai_pipeline.assets.comparison_with_live import keep
from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext
from genai_pipeline.assets.tables import table
from genai_pipeline.core.facts import Facts, ToolCallingFigures
from genai_pipeline.k8s.render import release_alias
from genai_pipeline.resources.engines import Engines


def measure_engine(context: ReleaseContext, engines: Engines) -> AssetResult:
    """Return the verdict `tool_calling` with its tables; nothing without such a gate.

    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """
    from genai_pipeline.evaluation.evaluate import EvaluationSettings, measure_tool_calls
    from genai_pipeline.evaluation.suite_files import load_tool_suite
    from genai_pipeline.evaluation.verdicts import judge_tool_calling

    gates = context.spec.gates
    if gates.agent.tool_calling_min is None:
        return AssetResult([])
    suite = load_tool_suite(gates.agent.tool_calling_suite)
    url, price = engines.candidates().engine_url(context.release), context.record.usd_per_million_tokens
    settings = EvaluationSettings(gates.conversations, gates.agent.repeat, usd_per_million_tokens=price)
    alias = release_alias(context.release)  # no other release answers to it
    results = measure_tool_calls(url, alias, suite, settings, context.log)
    verdict = judge_tool_calling(results.cases, gates.agent.tool_calling_min)
    figures: dict[str, Any] = {"cases": len(results.cases), "solved": results.solved, "flaky": len(results.flaky)}
    figures |= {"not_measured": len(results.cases) - results.measured, "seconds": results.seconds}
    figures |= {"suite": suite.name, **keep(engines, context.release, results)}
    wrong = [{"case": c.name, "tags": ", ".join(c.tags), "reason": c.reason} for c in results.cases if not c.solved]
    metadata = {"tool_calling_unsolved": table(wrong)} if wrong else {}
    return AssetResult([verdict], metadata, Facts(tool_calling=ToolCallingFigures.model_validate(figures)))
