"""The schedules that look after what is staged, and what their jobs do."""

import dagster as dg
import pytest

from genai_pipeline.core.errors import ClusterUnavailable
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.k8s.render import render_node_pools
from genai_pipeline.resources.configured import ProfileResource, pipeline_resources
from genai_pipeline.staging.stager import Stager
from tests.defs.beginnings import begin_with
from tests.defs.desk import Desk
from tests.fakes.graph import graph_on
from tests.fakes.world import EKS, World

RUNNING = dg.DefaultScheduleStatus.RUNNING
CHECK = dg.AssetCheckKey(dg.AssetKey(["tiny", "staged_model"]), "bytes_unchanged")


def run(desk, job, config=None):
    return desk.defs.resolve_job_def(job).execute_in_process(
        instance=desk.instance, raise_on_error=False, run_config=config or {}
    )


def check_of(result):
    (found,) = result.get_asset_check_evaluations()
    assert found.asset_check_key == CHECK
    return found


def test_looking_is_on_from_the_start_and_deleting_is_not(desk):
    status = {s.name: s.default_status for s in desk.defs.schedules}

    running = dict.fromkeys(("verify_staged", "live_drift", "live_capacity", "evaluate_tiny"), RUNNING)
    assert status == {"prune": dg.DefaultScheduleStatus.STOPPED, **running}
    assert all(s.description for s in desk.defs.schedules)


def test_sensors_say_what_they_are_for_and_are_on(desk):
    for sensor in desk.defs.sensors:
        assert sensor.description
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_a_code_location_without_a_model_has_nothing_to_verify():
    defs = graph_on(ModelFiles((), ()), pipeline_resources(ProfileResource.from_environment({})))
    assert [s.name for s in defs.schedules] == ["prune"]
    defs.get_repository_def()


def test_a_rollout_does_not_ask_the_nightly_check(desk):
    desk.world.hub.publish("v1")
    assert CHECK not in {e.asset_check_key for e in desk.roll_out().get_asset_check_evaluations()}


@pytest.mark.parametrize("label", ["instance-family", "instance-familly"])
def test_on_eks_the_node_pools_of_the_cluster_are_looked_at_every_night(label):
    desk = Desk(World(), profile=EKS)
    (pool,) = [o for o in render_node_pools(EKS, []) if o["metadata"]["name"] == "gpu"]
    pool["spec"]["template"]["spec"]["requirements"][0]["key"] = f"eks.amazonaws.com/{label}"
    desk.world.cluster.apply([pool])

    (found,) = run(desk, "live_node_pools").get_asset_check_evaluations()

    assert found.asset_check_key == dg.AssetCheckKey(dg.AssetKey(["platform", "node_pools"]), "live_requirements_known")
    assert found.passed == (label == "instance-family")
    assert {s.name: s.cron_schedule for s in desk.defs.schedules}["live_node_pools"] == "27 3 * * *"


def test_node_pools_that_cannot_be_read_are_inconclusive(monkeypatch):
    desk = Desk(World(), profile=EKS)

    def silent(*_):
        raise ClusterUnavailable("The cluster's API did not answer.")

    monkeypatch.setattr(desk.world.cluster, "list", silent)
    (found,) = run(desk, "live_node_pools").get_asset_check_evaluations()

    assert (found.passed, found.metadata["outcome"].value) == (False, "inconclusive")


def test_what_is_live_and_last_good_is_read_and_nothing_is_materialized(desk):
    begin_with(desk, "v1", "v2")

    result = run(desk, "verify_staged")

    found = check_of(result)
    assert found.passed
    live = desk.engines.records().live("tiny")
    assert found.metadata["releases"].value == f"{live.release}, {live.last_good}"
    assert result.get_asset_materialization_events() == []


@pytest.mark.parametrize("which", ["live", "last good"])
def test_a_changed_object_of_either_turns_the_check_red_as_an_error(desk, which):
    begin_with(desk, "v1", "v2")
    live = desk.engines.records().live("tiny")
    release = live.release if which == "live" else live.last_good
    revision = desk.record(release).revision
    desk.world.store.put(staged_prefix("tiny", revision) + "config.json", b"[]")

    found = check_of(run(desk, "verify_staged"))

    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert f"config.json of {release}" in found.description


def test_a_store_that_does_not_answer_is_a_warning_and_inconclusive(desk):
    begin_with(desk, "v1")
    desk.engines.records().live("tiny")

    def fail(method, key):
        from genai_pipeline.core.errors import StoreUnavailable

        if key.startswith("models/"):
            raise StoreUnavailable("The store did not answer.", "Start it.")

    desk.world.store.fail = fail
    found = check_of(run(desk, "verify_staged"))

    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert found.metadata["outcome"].value == "inconclusive"


GRACE_0 = {"ops": {"prune_staged_models": {"config": {"grace_days": 0}}}}


def stage_by_hand(desk, content):
    hub = desk.world.hub
    main = hub.refs["main"]
    revision = hub.publish(content)
    hub.refs["main"] = main
    Stager(hub, desk.world.store).stage("tiny", hub.snapshot("owner/tiny", revision))
    return revision


def revisions(desk):
    """Revisions of which anything is left: files, or what engines compiled."""
    keys = [o.key.replace("/caches/", "/") for o in desk.world.store.list("models/tiny/")]
    return {key.split("/")[2] for key in keys}


def shown(result):
    (output,) = [e for e in result.all_events if e.is_successful_output]
    return output.step_output_data.metadata


def test_the_prune_deletes_what_nothing_refers_to_and_shows_every_fate(desk):
    begin_with(desk, "v1")
    stray = stage_by_hand(desk, "stray")

    result = run(desk, "prune", GRACE_0)

    live = desk.record(desk.live).revision
    assert revisions(desk) == {live}
    rows = {r.data["revision"]: r.data for r in shown(result)["revisions"].value.records}
    assert rows[stray]["fate"] == "deleted"
    compiled = desk.record(desk.live).facts.compile_cache.size
    assert rows[live]["bytes"] > rows[live]["cache_bytes"] > compiled > 0
    assert rows[live] | {"bytes": 0, "cache_bytes": 0} == {
        "model": "tiny", "revision": live, "bytes": 0, "cache_bytes": 0, "fate": "keep", "why": f"{desk.live} is live"
    }  # fmt: skip
    assert shown(result)["bytes_freed"].value == rows[stray]["bytes"]


def test_the_prune_also_deletes_results_of_releases_that_have_no_record(desk):
    store, stale = desk.world.store, "evaluations/tiny/0123456789ab-abcdef/weather.jsonl"
    store.put(stale, b"{}\n")
    dry = run(desk, "prune", {"ops": {"prune_staged_models": {"config": {"grace_days": 0, "dry_run": True}}}})
    assert store.head(stale)

    result = run(desk, "prune", GRACE_0)

    assert store.head(stale) is None
    for each in (dry, result):
        assert [row.data["results"] for row in shown(each)["results"].value.records] == [stale]


def test_by_default_it_waits_for_a_week_and_a_dry_run_deletes_nothing(desk):
    begin_with(desk, "v1")
    stray = stage_by_hand(desk, "stray")

    run(desk, "prune")
    dry = run(desk, "prune", {"ops": {"prune_staged_models": {"config": {"grace_days": 0, "dry_run": True}}}})

    assert stray in revisions(desk)
    assert {r.data["fate"] for r in shown(dry)["revisions"].value.records} == {"keep", "delete"}


def test_a_run_under_way_keeps_the_revision_of_its_partition(desk):
    begin_with(desk, "v1")
    stray = stage_by_hand(desk, "stray")
    desk.instance.create_run_for_job(
        desk.defs.resolve_job_def("prune"), tags={"dagster/partition": f"{stray[:12]}-abcdef"},
        status=dg.DagsterRunStatus.STARTED,
    )  # fmt: skip

    run(desk, "prune", GRACE_0)

    assert stray in revisions(desk)


def test_a_hub_that_is_down_keeps_everything_and_says_so(desk):
    begin_with(desk, "v1")
    stray = stage_by_hand(desk, "stray")
    desk.world.hub.down = True

    result = run(desk, "prune", GRACE_0)

    assert stray in revisions(desk)
    fates = {r.data["revision"]: r.data["fate"] for r in shown(result)["revisions"].value.records}
    assert fates[stray] == "unclear"
