"""The tool-calling suite in a rollout: asked of the candidate's own engine where there is a gate, and only there."""

import json
from dataclasses import replace

import pytest

from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.record import Phase
from genai_pipeline.evaluation.evaluate import measure_tool_calls
from genai_pipeline.evaluation.results import ResultsStore
from genai_pipeline.evaluation.suite_files import load_tool_suite
from tests.fakes.model_texts import model_with_tools
from tests.fakes.tool_model import Defect, Said, ToolModel, perfect

CHECK = "agent_report.tool_calling"
GATED = json.dumps(
    {
        "name": "tiny",
        "source": {"hub": "owner/tiny"},
        "gates": {"agent": {"tool_calling_min": 0.9}},
        "rollout": {"watch_minutes": 0},
    }
)
WHOLE = load_tool_suite()
SUITE = WHOLE.model_copy(update={"cases": WHOLE.cases[:3]})


@pytest.fixture
def roll_out(desk, monkeypatch):
    """Roll a release out whose engine is a model with such a defect; returns what it was asked."""

    def run(defect: Defect = lambda said, request: said):
        monkeypatch.setattr("genai_pipeline.evaluation.suite_files.load_tool_suite", lambda name: SUITE)
        desk.world.hub.publish("v1")
        with ToolModel(perfect(SUITE, defect)) as engine:
            monkeypatch.setattr(
                "genai_pipeline.evaluation.evaluate.measure_tool_calls",
                lambda url, *more: measure_tool_calls(engine.url, *more),
            )
            desk.roll_out()
        return engine.requests

    return run


def test_without_a_gate_nothing_is_asked_and_the_record_says_why(desk, roll_out):
    assert roll_out() == []
    assert desk.live
    record = desk.record(desk.live)
    assert CHECK not in record.verdicts
    assert "tool_calling_min" in record.not_applicable[CHECK]


def test_a_gate_that_is_removed_on_the_way_is_no_longer_asked_for(desk, roll_out):
    without, gated = ModelFiles((desk.spec,), ()), ModelFiles((model_with_tools(GATED, "models/tiny.yaml"),), ())
    desk.load(gated)
    roll_out(lambda said, request: Said("no key", status=401))
    (release,) = desk.releases
    assert desk.record(release).not_passed.keys() == {CHECK}

    desk.load(without)
    for asset in ("agent_report", "live"):
        assert desk.materialize(asset, release).success

    assert desk.live == release


def test_a_gate_that_is_added_on_the_way_has_to_be_passed(desk, roll_out):
    roll_out()
    release = desk.live
    desk.load(ModelFiles((model_with_tools(GATED, "models/tiny.yaml"),), ()))

    desk.materialize("capacity", release)

    assert desk.record(release).missing == (CHECK,)


def test_a_model_that_calls_its_tools_right_goes_live_and_its_results_are_kept(desk, roll_out):
    desk.load(ModelFiles((model_with_tools(GATED, "models/tiny.yaml"),), ()))

    asked = roll_out()

    assert {request["model"] for request in asked} == {f"tiny@{desk.live}"}
    assert "3 of 3 cases solved" in desk.record(desk.live).verdicts[CHECK].summary
    assert desk.record(desk.live).facts.tool_calling.solved == 3
    kept = ResultsStore(desk.engines.gateways.store).read("tiny", desk.live, "tool_calling")
    assert [case.name for case in kept.cases] == [case.name for case in SUITE.cases]


@pytest.mark.parametrize(
    ("defect", "outcome", "phase"),
    [
        (lambda said, request: replace(said, calls=()), "failed", Phase.REJECTED),
        (lambda said, request: said if not request.get("stream") else Said("Hm."), "failed", Phase.REJECTED),
        (lambda said, request: Said("no key", status=401), "inconclusive", Phase.ROLLING_OUT),
    ],
)
def test_a_model_that_does_not_is_not_promoted(desk, roll_out, defect, outcome, phase):
    desk.load(ModelFiles((model_with_tools(GATED, "models/tiny.yaml"),), ()))

    roll_out(defect)

    assert desk.live is None
    record = desk.record(desk.releases[0])
    assert (str(record.verdicts[CHECK].outcome), record.phase) == (outcome, phase)
