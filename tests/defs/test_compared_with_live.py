"""What m/agent_report holds a candidate against, keeps of it, and shows."""

import json
from dataclasses import replace

import dagster as dg
import pytest

from genai_pipeline.core.record import Phase
from genai_pipeline.core.verdict import failed
from genai_pipeline.evaluation import evaluate as evaluation
from genai_pipeline.evaluation.comparison import Comparison
from genai_pipeline.evaluation.evaluate import AgentReport
from genai_pipeline.evaluation.outcome import CaseOutcome, RunOutcome
from genai_pipeline.evaluation.results import Results, ResultsStore, results_key
from genai_pipeline.evaluation.suite_files import load_agent_suite
from tests.defs.beginnings import begin_from, begin_with
from tests.defs.upkeep_desk import publish, run

WEATHER = load_agent_suite("weather")
FIGURES = {"suite": "weather", "cases": 4, "solved": 3, "not_measured": 0, "pass_rate": 0.75, "tool_accuracy": 1.0}


def results(*solved, digest=WEATHER.digest):
    cases = [
        CaseOutcome(f"case-{i}", ("t",), 1.0, (RunOutcome(one, one, "" if one else "why"),))
        for i, one in enumerate(solved)
    ]
    return Results("weather", digest, tuple(cases), "2026-11-25T00:00:00Z")


class Evaluated:
    """Stands for the evaluation, and remembers how it was asked."""

    def __init__(self, desk):
        self.desk, self.asked, self.found, self.meanwhile = desk, [], results(True, True, True, False), lambda: None

    def __call__(self, url, suite, gates, *args, **kwargs):
        self.asked.append(kwargs)
        self.meanwhile()
        against = kwargs.get("against")
        other = against.stored if against else None
        comparison = Comparison(self.found, other) if other else None
        verdicts = [v for v in self.desk.verdicts["agent_report"] if v.check != "tool_calling"]
        return AgentReport(verdicts, [{"case": "case-3", "success": "no"}], FIGURES, self.found, comparison)

    @property
    def against(self):
        return self.asked[-1]["against"]


@pytest.fixture
def evaluated(desk, monkeypatch):
    found = Evaluated(desk)
    monkeypatch.setattr(evaluation, "evaluate", found)
    return found


def begin_evaluated(desk, *contents):
    """Begin where these went live with what the fixture `evaluated` finds at first."""
    begin_from(desk, ("evaluated", *contents), lambda desk: publish(desk, *contents))


def metadata_of(desk):
    record = desk.instance.fetch_materializations(dg.AssetKey(["tiny", "agent_report"]), limit=1).records[0]
    return record.asset_materialization.metadata


def test_the_first_release_is_compared_with_nothing_and_its_results_are_kept(desk, evaluated):
    publish(desk, "v1")

    assert (evaluated.against.release, evaluated.against.itself) == (None, False)
    kept = ResultsStore(desk.world.store).read("tiny", desk.live, "weather")
    assert kept == replace(evaluated.found, model="tiny", release=desk.live)
    assert desk.record(desk.live).facts.agent.results.endswith(results_key("tiny", desk.live, "weather"))
    assert [r.release for r in desk.engines.records().all("tiny")] == [desk.live]


def test_the_next_one_is_compared_with_what_live_did_and_the_flipped_cases_are_shown(desk, evaluated):
    begin_evaluated(desk, "v1")
    v1 = desk.live
    evaluated.found = results(True, True, False, True)

    publish(desk, "v2")

    assert evaluated.against.release == v1
    assert evaluated.against.stored.release == v1
    assert evaluated.asked[-1]["settings"].concurrency == desk.spec.gates.serving.at_concurrency
    shown = metadata_of(desk)
    rows = [row.data for row in shown["solved by only one"].value.records]
    assert [(row["case"], row["flipped"]) for row in rows] == [("case-2", "lost"), ("case-3", "gained")]
    assert shown["pass_rate"].value == 0.75
    assert "data:image/svg+xml" in shown["over_releases"].value


def test_live_may_be_asked_at_its_stable_address_and_what_it_says_is_kept(desk, evaluated):
    begin_evaluated(desk, "v1")
    v1 = desk.live
    desk.world.store.delete(results_key("tiny", v1, "weather"))
    asked = replace(results(True, True, True, True), release=v1)
    evaluated.meanwhile = lambda: evaluated.against.release and evaluated.against.keep(asked)

    publish(desk, "v2")

    assert evaluated.against.stored is None
    assert evaluated.against.agent_url == desk.engines.traffic().url("tiny", "agent")
    assert ResultsStore(desk.world.store).read("tiny", v1, "weather").solved == 4


def test_stored_results_that_are_broken_are_none(desk, evaluated):
    begin_evaluated(desk, "v1")
    desk.world.store.put(results_key("tiny", desk.live, "weather"), b"{broken")

    publish(desk, "v2")

    assert evaluated.against.stored is None


def test_one_that_is_worse_is_rejected_and_live_stays(desk, evaluated):
    begin_evaluated(desk, "v1")
    v1 = desk.live
    desk.verdicts["agent_report"] = [
        failed(v.check, "5 lost") if v.check == "not_worse_than_live" else v for v in desk.verdicts["agent_report"]
    ]
    desk.world.hub.publish("v2")

    assert not desk.roll_out().success

    worse = next(r for r in desk.releases if r != v1)
    assert desk.live == v1
    assert desk.record(worse).phase is Phase.REJECTED
    assert "agent_report.not_worse_than_live: 5 lost" in desk.record(worse).reason


def test_a_comparison_with_what_lost_the_traffic_meanwhile_proves_nothing(desk, evaluated):
    begin_evaluated(desk, "v1", "v2")
    last_good = desk.engines.records().live("tiny").last_good
    evaluated.meanwhile = lambda: desk.engines.records().set_live(desk.record(last_good).as_release)
    desk.world.hub.publish("v3")

    assert not desk.roll_out().success

    v3 = desk.releases[-1]
    found = desk.record(v3).verdicts["agent_report.not_worse_than_live"]
    assert found.outcome == "inconclusive"
    assert last_good in found.summary


def test_the_nightly_evaluation_keeps_what_it_measured_whole_and_no_half_of_it(desk, evaluated):
    begin_evaluated(desk, "v1")
    evaluated.found = results(True, True, True, True)
    run(desk, "evaluate_tiny")
    assert ResultsStore(desk.world.store).read("tiny", desk.live, "weather").solved == 4

    evaluated.found = results(True, None, None, None)
    run(desk, "evaluate_tiny")

    assert evaluated.asked[-1].get("against") is None
    assert ResultsStore(desk.world.store).read("tiny", desk.live, "weather").solved == 4


def test_a_record_from_before_the_check_is_promoted_and_rebuilt(desk):
    """It was proven by code that did not know `not_worse_than_live`, and waits for its approval."""
    from genai_pipeline.automation.rollouts import releases_of
    from genai_pipeline.cli.rebuild import rebuild

    begin_with(desk, "v1")
    release = desk.live
    key = f"releases/tiny/{release}.json"
    stored = json.loads(desk.world.store.get(key)[0])
    del stored["generation"]
    for name in ("not_worse_than_live", "tool_calling"):
        stored["verdicts"].pop(f"agent_report.{name}", None)
    desk.world.store.put(key, json.dumps(stored).encode())

    assert desk.record(release).may_go_live
    with dg.DagsterInstance.ephemeral() as fresh:
        said = rebuild(fresh, desk.spec, desk.engines.records().all("tiny"), releases_of(desk.spec).name)
        again = rebuild(fresh, desk.spec, desk.engines.records().all("tiny"), releases_of(desk.spec).name)

    assert "1 releases (1 new to Dagster)" in said
    assert "0 materializations and 0 check evaluations" in again
