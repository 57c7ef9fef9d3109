"""The graph of a model without an agent: what is not there, what a release proves, and changes of the model file."""

import dagster as dg
import pytest

from genai_pipeline.assets.comparison_with_live import baseline_of
from genai_pipeline.core.checks import ABOUT_GENERATED_TOKENS
from genai_pipeline.core.model_file import ModelFiles, parse_model
from genai_pipeline.core.record import Phase
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import failed
from tests.defs.desk import MODEL, Desk
from tests.fakes.model_texts import model_with_tools

PLAIN = parse_model(
    "name: tiny\nsource: {hub: owner/tiny, ref: main}\nagent: none\nrollout: {watch_minutes: 0}\n", "models/tiny.yaml"
)
EMBEDDER = parse_model(
    "name: tiny\nsource: {hub: owner/tiny, ref: main}\ntask: embed\nrollout: {watch_minutes: 0}\n", "models/tiny.yaml"
)
CHATTING = model_with_tools(MODEL)


@pytest.fixture
def plain(desk: Desk) -> Desk:
    desk.load(ModelFiles((PLAIN,), ()))
    return desk


def metadata_of(desk: Desk, asset: str, release: str):
    found = desk.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(["tiny", asset]), asset_partitions=[release]), limit=1
    )
    return found.records[0].asset_materialization.metadata


def test_the_graph_has_neither_an_agent_nor_its_checks_and_evaluations(plain):
    graph = plain.defs.resolve_asset_graph()
    repository = plain.defs.get_repository_def()

    keys = {key.path[1] for key in graph.get_all_asset_keys() if key.path[0] == "tiny"}
    assert {"candidate", "serving_report", "live"} <= keys
    assert not {"agent_candidate", "agent_report"} & keys
    assert dg.AssetKey(["tiny", "serving_report"]) in graph.get(dg.AssetKey(["tiny", "live"])).parent_keys
    checks = {key.name for key in graph.asset_check_keys if key.asset_key.path[0] == "tiny"}
    assert {"ttft_p95", "matches_rendered"} <= checks
    assert not {"tool_call_parsed", "task_success", "still_passes"} & checks
    assert "evaluate_tiny" not in {job.name for job in repository.get_all_jobs()}
    assert "evaluate_tiny" not in {schedule.name for schedule in repository.schedule_defs}


def test_a_release_goes_live_and_what_did_not_apply_is_shown_and_is_not_passed(plain):
    plain.world.hub.publish("v1")

    assert plain.roll_out().success

    record, metadata = plain.record(plain.live), metadata_of(plain, "live", plain.live)
    rows = {row.data["check"]: row.data for row in metadata["record"].records}
    assert record.phase is Phase.LIVE
    assert rows["agent_report.task_success"] == {
        "check": "agent_report.task_success",
        "outcome": "not applicable",
        "evidence": "The model file has no agent.",
    }
    assert rows["candidate.tool_call_parsed"]["outcome"] == "not applicable"
    assert rows["candidate.expected_model_answers"]["outcome"] == "passed"
    assert "agent" not in metadata
    assert "agent_report.task_success" not in record.verdicts


def test_an_embedding_model_is_asked_for_embeddings_wherever_it_is_asked_anything(desk):
    desk.load(ModelFiles((EMBEDDER,), ()))
    for version in ("v1", "v2"):  # the second one replaces the first under requests
        desk.world.hub.publish(version)
        assert desk.roll_out().success

    record = desk.record(desk.live)
    assert (record.revision, record.phase) == (desk.world.hub.resolve("owner/tiny", "main"), Phase.LIVE)
    assert {"serving_report.latency_p95", "serving_report.queue"} <= record.verdicts.keys()
    excused = {f"serving_report.{check}" for check in ABOUT_GENERATED_TOKENS}
    assert excused <= record.not_applicable.keys()
    assert not excused & record.verdicts.keys()


def test_what_applies_still_bars_a_release(plain):
    plain.world.hub.publish("v1")
    plain.verdicts["serving_report"][0] = failed("ttft_p95", "slow")

    plain.roll_out()

    assert plain.live is None
    assert plain.record(plain.releases[0]).phase is Phase.REJECTED


@pytest.mark.parametrize(("before", "after"), [(CHATTING, PLAIN), (PLAIN, CHATTING)])
def test_a_model_that_gains_or_loses_its_agent_gets_a_release_that_proves_the_rest(desk, before, after):
    revision = desk.world.hub.publish("v1")
    desk.load(ModelFiles((before,), ()))
    desk.roll_out()
    assert desk.live == Release.of(before, revision).id

    desk.load(ModelFiles((after,), ()))
    assert desk.roll_out().success

    assert desk.live == Release.of(after, revision).id
    assert (desk.engines.traffic().url("tiny", "agent") is not None) == after.has_agent
    assert desk.record(desk.live).trigger.startswith("agent: ") or "agent: " in desk.record(desk.live).trigger


def test_a_release_of_another_kind_is_not_measured_by_the_graph_of_today(desk):
    revision = desk.world.hub.publish("v1")
    desk.load(ModelFiles((PLAIN,), ()))
    desk.roll_out()
    before = desk.record(desk.live)
    desk.load(ModelFiles((CHATTING,), ()))

    for asset in ("candidate", "agent_report"):
        assert not desk.materialize(asset, Release.of(PLAIN, revision).id).success

    assert desk.record(desk.live) == before


def test_a_live_release_without_an_agent_is_no_baseline_for_one_with_an_agent(desk):
    revision = desk.world.hub.publish("v1")
    desk.load(ModelFiles((PLAIN,), ()))
    desk.roll_out()

    baseline = baseline_of(desk.engines, Release.of(CHATTING, revision), "weather", lambda _: None)

    assert (baseline.release, baseline.has_agent) == (desk.live, False)


def test_a_scheduled_evaluation_of_a_live_release_without_an_agent_passes_nothing(desk):
    desk.world.hub.publish("v1")
    desk.load(ModelFiles((PLAIN,), ()))
    desk.roll_out()
    desk.load(ModelFiles((CHATTING,), ()))

    result = desk.defs.resolve_job_def("evaluate_tiny").execute_in_process(instance=desk.instance)

    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert not any(e.passed for e in found.values())
    assert all("has no agent" in (e.description or "") for e in found.values())
