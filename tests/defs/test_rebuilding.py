"""Dagster's storage is lost: what the UI showed comes back from the records, and nothing is started anew."""

import asyncio
from dataclasses import replace
from datetime import datetime

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest

from genai_pipeline.automation.rollouts import releases_of
from genai_pipeline.cli.rebuild import open_instance, rebuild
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.errors import NotReady, Refused
from genai_pipeline.core.record import Event
from genai_pipeline.core.verdict import Outcome, failed
from tests.defs.beginnings import begin_from, begin_with
from tests.defs.upkeep_desk import tick
from tests.fakes.world import PROFILE


@pytest.fixture
def told(desk):
    """A desk with a history: two that went live, one rejected, one whose engine never came up."""

    def reach(desk):
        begin_with(desk, "v1", "v2")
        desk.verdicts["agent_report"], good = (
            [failed(v.check, "Paris") for v in desk.verdicts["agent_report"]],
            desk.verdicts["agent_report"],
        )
        desk.world.hub.publish("v3")
        desk.roll_out()
        desk.verdicts["agent_report"] = good
        desk.world.cluster.not_ready["tiny-"] = "image not found"
        desk.world.hub.publish("v4")
        desk.roll_out()
        desk.world.cluster.not_ready.clear()

    begin_from(desk, "told", reach)
    return desk


def facts(instance, spec):
    """What an asset's page and its partitions show."""
    shown = {"partitions": sorted(instance.get_dynamic_partitions(releases_of(spec).name))}
    for asset in CHECKS:
        key = dg.AssetKey(["tiny", asset])
        found = instance.fetch_materializations(key, limit=100).records
        shown[asset] = {"materialized": sorted(instance.get_materialized_partitions(key))}
        for record in reversed(found):
            metadata = record.asset_materialization.metadata
            kept = {k: metadata[k].value for k in ("release", "revision")}
            shown[asset][record.partition_key] = kept | {"seconds": round(metadata["seconds"].value, 3)}
            if "figures" in metadata:
                shown[asset]["figures"] = [r.data for r in metadata["figures"].value.records]
        shown[asset]["newest"] = found[0].partition_key if found else None
        for check in CHECKS[asset]:
            shown[asset][check] = evaluation(instance, dg.AssetCheckKey(key, check))
    return shown


def plain(value):
    """A record knows no order of columns."""
    return [r.data for r in value.records] if isinstance(value, dg.TableMetadataValue) else str(value.value)


def executions(instance, key):
    """Newest first, without those that were only planned."""
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    return [r for r in history if isinstance(r.evaluation, dg.AssetCheckEvaluation)]


def evaluated(instance):
    """Every check with the releases that it was evaluated for."""
    keys = [dg.AssetCheckKey(dg.AssetKey(["tiny", asset]), check) for asset in CHECKS for check in CHECKS[asset]]
    return {key: {e.evaluation.metadata["release"].value for e in executions(instance, key)} for key in keys}


def evaluation(instance, key):
    for found in (execution.evaluation for execution in executions(instance, key)):
        metadata = {k: plain(v) for k, v in found.metadata.items() if k != "recorded_at"}
        return {"passed": found.passed, "text": found.description, "metadata": metadata, "blocking": found.blocking}
    return None


def differing(before, after):
    """By asset and fact, before and after: a whole history side by side is not readable."""
    flat = [
        {(a, k): v for a, facts in shown.items() if isinstance(facts, dict) for k, v in facts.items()}
        | {"partitions": shown["partitions"]}
        for shown in (before, after)
    ]
    return {
        key: (flat[0].get(key), flat[1].get(key))
        for key in {*flat[0], *flat[1]}
        if flat[0].get(key) != flat[1].get(key)
    }


def test_what_the_ui_showed_comes_back_from_the_records(told):
    before = facts(told.instance, told.spec)
    with dg.DagsterInstance.ephemeral() as empty:
        assert facts(empty, told.spec) != before

        said = rebuild(empty, told.spec, told.engines.records().all("tiny"), "tiny_releases")

        different = differing(before, facts(empty, told.spec))
        assert different == {}, sorted(different, key=str)
        assert said.startswith("4 releases (4 new to Dagster)")


def test_doing_it_again_reports_nothing(told):
    records = told.engines.records().all("tiny")
    with dg.DagsterInstance.ephemeral() as empty:
        rebuild(empty, told.spec, records, "tiny_releases")
        before = facts(empty, told.spec)

        said = rebuild(empty, told.spec, records, "tiny_releases")

        assert said == "4 releases (0 new to Dagster), 0 materializations and 0 check evaluations reported."
        assert facts(empty, told.spec) == before
    assert "0 materializations and 0 check" in rebuild(told.instance, told.spec, records, "tiny_releases")


def test_the_page_of_an_asset_counts_the_checks_and_shows_when_it_was_proven(told):
    record = told.record(told.live)
    (at,) = [e.at for e in record.history if e.what.startswith("live: ")]
    tried_before = replace(record, history=(Event("2020-01-01T00:00:00Z", "live: inconclusive"), *record.history))
    with dg.DagsterInstance.ephemeral() as empty:
        rebuild(empty, told.spec, [tried_before], "tiny_releases")
        key = dg.AssetKey(["tiny", "live"])
        newest = empty.fetch_materializations(key, limit=1).records[0].asset_materialization
        for check in CHECKS["live"]:
            execution = executions(empty, dg.AssetCheckKey(key, check))[0]
            assert asyncio.run(execution.targets_latest_materialization(LoadingContextForTest(empty)))
            assert execution.evaluation.metadata["recorded_at"] == newest.metadata["recorded_at"]
    assert newest.metadata["recorded_at"].value == datetime.fromisoformat(at).timestamp()


def test_an_asset_that_ended_in_an_error_is_observed_and_not_materialized(told):
    (ended,) = [r for r in told.engines.records().all("tiny") if r.outcome_of("candidate") is Outcome.INCONCLUSIVE]
    key = dg.AssetKey(["tiny", "candidate"])
    with dg.DagsterInstance.ephemeral() as empty:
        rebuild(empty, told.spec, [ended], "tiny_releases")

        (found,) = empty.fetch_observations(key, limit=9).records
        assert empty.fetch_materializations(key, limit=9).records == []
    assert found.partition_key == ended.release
    assert {row.data["outcome"] for row in found.asset_observation.metadata["verdicts"].value.records} == {
        "inconclusive"
    }


@pytest.mark.parametrize("events", [1, 2, 40])
def test_a_rebuild_that_was_killed_is_completed_by_the_next_one(told, monkeypatch, events):
    records = told.engines.records().all("tiny")
    with dg.DagsterInstance.ephemeral() as empty:
        report, left = empty.report_runless_asset_event, iter(range(events))

        def killed(event):
            if next(left, None) is None:
                raise KeyboardInterrupt
            report(event)

        monkeypatch.setattr(empty, "report_runless_asset_event", killed)
        with pytest.raises(KeyboardInterrupt):
            rebuild(empty, told.spec, records, "tiny_releases")
        monkeypatch.setattr(empty, "report_runless_asset_event", report)

        rebuild(empty, told.spec, records, "tiny_releases")

        assert evaluated(empty) == evaluated(told.instance)
        assert differing(facts(told.instance, told.spec), facts(empty, told.spec)) == {}


def test_after_the_loss_nothing_is_started_again_for_what_is_live(told):
    told.world.hub.refs["main"] = told.record(told.live).revision
    with dg.DagsterInstance.ephemeral() as empty:
        told.instance = empty
        assert told.tick()[0] == []
        rebuild(empty, told.spec, told.engines.records().all("tiny"), "tiny_releases")

        assert told.tick()[0] == []
        assert tick(told, "redeploys")[0] == []


def test_where_dagster_keeps_its_storage_has_to_be_known(tmp_path):
    for profile in (replace(PROFILE, home=tmp_path), replace(PROFILE, name="eks")):
        with pytest.raises(Refused, match="DAGSTER_HOME"), open_instance({}, profile):
            raise NotReady("never")
