"""The tool-calling suite, put to a candidate's engine itself, where the model file asks for it."""

from dataclasses import replace

from genai_pipeline.assets.held_against import keep
from genai_pipeline.assets.release_asset import Findings, InHand
from genai_pipeline.assets.tables import table
from genai_pipeline.core.facts import Facts, ToolCallingFigures
from genai_pipeline.k8s.render import release_alias


def put_to_the_engine(hand: InHand) -> Findings:
    """The verdict `tool_calling` with its tables; passed as not asked for where there is no such gate.

    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """
    from genai_pipeline.evaluation.tool_calling import (
        judge_tool_calling,
        load_tool_suite,
        measure_tool_calls,
        not_asked,
    )

    gates = hand.spec.gates
    if gates.agent.tool_calling_min is None:
        return Findings([not_asked()])
    suite = load_tool_suite(gates.agent.tool_calling_suite)
    url, concurrency = hand.platform.candidates.engine_url(hand.release), gates.serving.at_concurrency
    alias = release_alias(hand.release)  # no other release answers to it
    found = measure_tool_calls(url, alias, suite, concurrency, gates.agent.repeat, hand.say)
    verdict = judge_tool_calling(found.cases, gates.agent.tool_calling_min)
    results = replace(found, usd_per_million_tokens=hand.record.usd_per_million_tokens)
    figures = {name: verdict.evidence[name] for name in ("cases", "solved", "not_measured", "flaky")}
    figures |= {"suite": suite.name, "seconds": results.seconds, **keep(hand.platform, hand.release, results)}
    wrong = [{"case": c.name, "tags": ", ".join(c.tags), "reason": c.reason} for c in results.cases if not c.solved]
    metadata = {"tool_calling_unsolved": table(wrong)} if wrong else {}
    return Findings([verdict], metadata, Facts(tool_calling=ToolCallingFigures.model_validate(figures)))
