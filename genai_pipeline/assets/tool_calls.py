"""The tool-calling suite, put to a candidate's engine itself, where the model file asks for it."""

from typing import Any

from genai_pipeline.assets.held_against import keep
from genai_pipeline.assets.release_asset import Findings, InHand
from genai_pipeline.assets.tables import table
from genai_pipeline.core.facts import Facts, ToolCallingFigures
from genai_pipeline.k8s.render import release_alias


def put_to_the_engine(hand: InHand) -> Findings:
    """The verdict `tool_calling` with its tables; passed as not asked for where there is no such gate.

    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """
    from genai_pipeline.evaluation.evaluate import EvaluationSettings, measure_tool_calls
    from genai_pipeline.evaluation.suite_files import load_tool_suite
    from genai_pipeline.evaluation.verdicts import judge_tool_calling, tool_calling_not_asked

    gates = hand.spec.gates
    if gates.agent.tool_calling_min is None:
        return Findings([tool_calling_not_asked()])
    suite = load_tool_suite(gates.agent.tool_calling_suite)
    url, price = hand.engines.candidates().engine_url(hand.release), hand.record.usd_per_million_tokens
    settings = EvaluationSettings(gates.conversations, gates.agent.repeat, usd_per_million_tokens=price)
    alias = release_alias(hand.release)  # no other release answers to it
    results = measure_tool_calls(url, alias, suite, settings, hand.say)
    verdict = judge_tool_calling(results.cases, gates.agent.tool_calling_min)
    figures: dict[str, Any] = {"cases": len(results.cases), "solved": results.solved, "flaky": len(results.flaky)}
    figures |= {"not_measured": len(results.cases) - results.measured, "seconds": results.seconds}
    figures |= {"suite": suite.name, **keep(hand.engines, hand.release, results)}
    wrong = [{"case": c.name, "tags": ", ".join(c.tags), "reason": c.reason} for c in results.cases if not c.solved]
    metadata = {"tool_calling_unsolved": table(wrong)} if wrong else {}
    return Findings([verdict], metadata, Facts(tool_calling=ToolCallingFigures.model_validate(figures)))
