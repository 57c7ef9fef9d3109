"""Approval, windows, superseding and limits, as the whole graph does them."""

import dagster as dg
import pytest
from dagster._core.op_concurrency_limits_counter import GlobalOpConcurrencyLimitsCounter
from dagster._utils.tags import TagConcurrencyLimitsCounter

from genai_pipeline.core.model_file import ModelFiles, read_models
from genai_pipeline.core.notice import NoticeKind
from genai_pipeline.core.record import Phase
from genai_pipeline.core.verdict import inconclusive
from genai_pipeline.local.dagster_home import prepare_dagster_home
from genai_pipeline.resources.runs import runs_under_way
from tests.defs.beginnings import begin_proven
from tests.defs.desk import MODEL
from tests.fakes.model_texts import model_with_tools

MANUAL = "name: tiny\nsource: {hub: owner/tiny, ref: main}\nrollout: {approval: manual, watch_minutes: 0}\n"
SUNDAY, MONDAY = "2026-01-04T12:00:00Z", "2026-01-05T12:00:00Z"
WEEKDAYS = MANUAL.replace("approval: manual", 'window: "Mon-Fri 09:00-17:00"')
NOW = "genai_pipeline.automation.rollouts.utc_now", "genai_pipeline.assets.live.utc_now"


def load(desk, *texts):
    desk.load(ModelFiles(tuple(model_with_tools(text, "models/tiny.yaml") for text in texts), ()))


def approve(desk, release):
    config = {"model": "tiny", "release": release, "by": "ann"}
    return desk.defs.resolve_job_def("approve").execute_in_process(
        instance=desk.instance,
        run_config={"ops": {"approve_release": {"config": config}}},
        raise_on_error=False,
    )


def materialized(result):
    return {"/".join(event.asset_key.path) for event in result.get_asset_materialization_events()}


def test_with_manual_approval_the_run_ends_well_without_moving_traffic_and_says_where_the_reports_are(desk):
    load(desk, MANUAL)
    desk.world.hub.publish("v1")

    result = desk.prove()

    assert result.success
    assert desk.live is None
    release = desk.releases[0]
    assert f"genai approve tiny@{release}" in desk.tick()[1]
    assert desk.record(release).phase is Phase.AWAITING_APPROVAL
    (notice,) = desk.engines.notices().waiting()
    assert notice.kind is NoticeKind.AWAITING_APPROVAL
    assert f"genai approve tiny@{release}" in notice.text
    assert "http://dagster/assets/tiny/" in notice.text


def test_the_button_approves_and_the_next_tick_promotes_without_proving_anything_again(desk):
    load(desk, MANUAL)
    begin_proven(desk)
    release = desk.releases[0]

    assert approve(desk, release).success
    (request,), _ = desk.tick()

    assert request.job_name == "promote_tiny"
    assert request.run_key == f"tiny:{release}:1:promote:1"
    assert "approved by ann" in request.tags["genai/reason"]
    assert materialized(desk.run(request)) == {"tiny/live", "platform/chat_ui"}
    assert desk.live == release
    assert desk.record(release).attempt == 1


def test_what_does_not_wait_for_approval_cannot_be_approved(desk):
    desk.world.hub.publish("v1")
    desk.tick()

    result = approve(desk, desk.releases[0])

    assert not result.success
    assert "does not wait for approval" in str(result.failure_data_for_node("approve_release").user_failure_data)


def test_a_promotion_whose_run_died_is_tried_again_under_another_key_and_not_for_ever(desk, monkeypatch):
    load(desk, MANUAL.replace("watch_minutes: 0", "watch_minutes: 0, max_attempts: 2"))
    begin_proven(desk)
    approve(desk, desk.releases[0])
    monkeypatch.setattr(NOW[0], lambda: "2999-01-01T00:00:00Z")
    keys = []
    for _ in range(3):
        keys += [request.run_key.partition(":promote")[1:] for request in desk.tick()[0]]

    assert keys == [(":promote", ":1"), (":promote", ":2"), ("", "")]


@pytest.mark.parametrize("harm", ["wrong", "gone", "of another model"])
def test_while_a_model_file_is_harmed_nothing_starts_that_would_find_no_model_and_nothing_is_given_up(
    desk, tmp_path, harm
):
    """Runs read the files anew, and a run that does not find its model ends without a verdict."""
    file = tmp_path / "tiny.yaml"
    file.write_text(MODEL)
    desk.load(read_models(tmp_path))
    desk.world.hub.publish("v1")
    {"wrong": lambda: file.write_text(MODEL + "serving: ["), "gone": file.unlink}.get(
        harm, lambda: file.write_text(MODEL.replace("name: tiny", "name: other"))
    )()

    started, said = desk.tick()

    assert started == []
    assert f"tiny: {file}" in said
    file.write_text(MODEL)
    assert len(desk.tick()[0]) == 1


def test_a_model_file_that_was_renamed_or_changed_is_still_the_models(desk, tmp_path):
    (tmp_path / "tiny.yaml").write_text(MODEL)
    desk.load(read_models(tmp_path))
    (tmp_path / "tiny.yaml").write_text(MODEL + "# changed")
    (tmp_path / "tiny.yaml").rename(tmp_path / "small.yaml")
    desk.world.hub.publish("v1")

    assert len(desk.tick()[0]) == 1


def test_a_closed_window_holds_a_proven_candidate_until_it_opens(desk, monkeypatch):
    load(desk, WEEKDAYS)
    desk.world.hub.publish("v1")
    monkeypatch.setattr(NOW[0], lambda: MONDAY)
    assert desk.prove().success
    monkeypatch.setattr(NOW[0], lambda: SUNDAY)

    assert "closed until 2026-01-05T09:00:00Z" in desk.tick()[1]
    assert desk.record(desk.releases[0]).phase is Phase.ROLLING_OUT
    for name in NOW:
        monkeypatch.setattr(name, lambda: "2999-01-01T12:00:00Z")  # a Tuesday
    (request,), _ = desk.tick()
    desk.run(request)
    assert desk.live == desk.releases[0]


@pytest.mark.parametrize(("model", "says"), [(MANUAL, "genai approve tiny@"), (WEEKDAYS, "closed until")])
def test_a_promotion_by_hand_is_refused_until_the_release_may_have_the_traffic(desk, monkeypatch, model, says):
    load(desk, model)
    desk.world.hub.publish("v1")
    monkeypatch.setattr(NOW[0], lambda: MONDAY)
    monkeypatch.setattr(NOW[1], lambda: SUNDAY)
    desk.prove()
    before = desk.record(desk.releases[0])

    result = desk.materialize("live", before.release)

    assert not result.success
    assert says in result.failure_data_for_node("tiny__live").error.message
    assert desk.live is None
    assert desk.record(before.release) == before
    for name in NOW:
        monkeypatch.setattr(name, lambda: "2999-01-01T12:00:00Z")
    assert len(desk.tick()[0]) == (model is WEEKDAYS), "nothing is lost by it"


def test_a_release_that_is_overtaken_between_its_proof_and_its_promotion_gives_way(desk):
    desk.world.hub.publish("v1")
    desk.prove()
    (promotion,), _ = desk.tick()
    desk.world.hub.publish("v2")
    (second,), _ = desk.tick()

    late = desk.run(promotion)

    overtaken = promotion.partition_key
    assert not late.success
    assert "was superseded" in str(late.failure_data_for_node("tiny__live").user_failure_data)
    assert desk.live is None
    assert desk.record(overtaken).phase is Phase.SUPERSEDED
    assert not [d for d in desk.world.cluster.list("Deployment") if overtaken in d["metadata"]["name"]]
    assert desk.run(second).success
    desk.run(desk.tick()[0][0])
    assert desk.live == second.partition_key


def test_a_candidate_that_is_gone_when_its_promotion_comes_is_proven_again(desk, monkeypatch):
    desk.world.hub.publish("v1")
    desk.prove()
    (release,) = desk.releases
    monkeypatch.setattr(NOW[0], lambda: "2999-01-01T00:00:00Z")
    jobs = []
    while desk.live is None:
        desk.engines.candidates().stop(desk.record(release).as_release)
        (request,), _ = desk.tick()
        jobs.append(request.job_name)
        if request.job_name == "rollout_tiny":
            assert desk.run(request).success
            desk.run(desk.tick()[0][0])
        else:
            assert not desk.run(request).success

    assert jobs == ["promote_tiny", "promote_tiny", "rollout_tiny"]
    assert desk.record(release).phase is Phase.LIVE


def test_a_newer_version_supersedes_one_on_its_way_whose_run_gives_way_without_a_verdict(desk, monkeypatch):
    desk.world.hub.publish("v1")
    (first,), _ = desk.tick()
    job = desk.defs.resolve_job_def("rollout_tiny")
    desk.instance.create_run_for_job(job, tags=first.tags, status=dg.DagsterRunStatus.STARTED)
    desk.world.hub.publish("v2")
    assert "under way" in desk.tick()[1]
    (overtaken,) = desk.releases
    record = desk.record(overtaken)
    assert record.phase is Phase.SUPERSEDED
    assert "is asked for instead" in record.reason

    result = desk.run(first)

    assert not result.success
    assert "was superseded" in str(result.failure_data_for_node("tiny__snapshot").user_failure_data)
    assert desk.record(overtaken).verdicts == {}
    assert not desk.record(overtaken).leftover


def test_an_older_one_that_waits_for_approval_is_superseded_and_taken_away_in_the_tick(desk):
    load(desk, MANUAL)
    begin_proven(desk)
    waiting = desk.releases[0]
    assert desk.record(waiting).phase is Phase.AWAITING_APPROVAL
    desk.world.hub.publish("v2")

    requests, _ = desk.tick()

    assert len(requests) == 1
    assert desk.record(waiting).phase is Phase.SUPERSEDED
    assert not [d for d in desk.world.cluster.list("Deployment") if waiting in d["metadata"]["name"]]


def test_the_reason_of_a_run_says_what_changed(desk):
    desk.world.hub.publish("v1")
    (first,), _ = desk.tick()
    assert "first release: revision" in first.tags["genai/reason"]
    desk.run(first)
    desk.run(desk.tick()[0][0])
    load(
        desk,
        MANUAL.replace("approval: manual, ", "") + "serving: {args: {max-model-len: 512}, env: {GREETING: s3cret}}\n",
    )

    (second,), _ = desk.tick()

    assert "serving.args.max-model-len: none -> 512" in second.tags["genai/reason"]
    assert "serving.env.GREETING changed" in second.tags["genai/reason"]
    assert "s3cret" not in second.tags["genai/reason"]
    assert "serving.args.max-model-len" in desk.record(second.partition_key).trigger


def test_what_ended_without_a_verdict_is_reported_as_inconclusive(desk, monkeypatch):
    desk.world.hub.publish("v1")
    desk.verdicts["serving_report"] = [inconclusive(v.check, "engine silent") for v in desk.verdicts["serving_report"]]
    monkeypatch.setattr(NOW[0], lambda: "2999-01-01T00:00:00Z")
    desk.roll_out()
    desk.roll_out()

    desk.tick()

    assert [notice.kind for notice in desk.engines.notices().waiting()] == [NoticeKind.INCONCLUSIVE]


def named(name):
    return f"name: {name}\nsource: {{hub: owner/{name}, ref: main}}\n"


def test_no_more_rollouts_start_than_the_cluster_may_have_and_one_launched_by_hand_counts(desk):
    desk.world.hub.publish("v1")
    load(desk, *map(named, ("tiny", "b", "c")))

    assert {r.tags["genai/model"] for r in desk.tick()[0]} == {"tiny", "b"}

    load(desk, *map(named, ("tiny", "d", "e")))
    by_hand = desk.defs.resolve_job_def("rollout_tiny")
    desk.instance.create_run_for_job(by_hand, tags=dict(by_hand.tags), status=dg.DagsterRunStatus.NOT_STARTED)
    assert {r.tags["genai/model"] for r in desk.tick()[0]} == {"d"}


def test_a_run_that_someone_put_together_of_assets_is_seen_as_the_models(desk):
    desk.world.hub.publish("v1")
    job = desk.defs.resolve_implicit_global_asset_job_def()
    desk.instance.create_run_for_job(
        job, asset_selection=frozenset({dg.AssetKey(["tiny", "candidate"])}), status=dg.DagsterRunStatus.STARTED
    )

    (run,) = runs_under_way(desk.instance)

    assert (run.model, run.rolls_out) == ("tiny", False)
    assert "under way" in desk.tick()[1]


def test_every_asset_of_a_model_is_in_its_pool(desk):
    pools = [a.op.pool for a in desk.defs.assets if isinstance(a, dg.AssetsDefinition) and a.op.pool]

    assert pools == ["model_tiny"] * 8


def test_each_kind_of_source_has_a_sensor_of_its_own_and_only_its_own_models(desk, tmp_path):
    load(
        desk,
        named("tiny"),
        f"name: b\nsource: {{folder: {tmp_path}}}\n",
        "name: c\nsource: {s3: s3://bucket/prefix/}\n",
    )

    sensors = {sensor.name: sensor for sensor in desk.defs.get_repository_def().sensor_defs}

    assert {"new_versions", "new_versions_s3", "new_versions_folder"} <= set(sensors)
    assert {target.job_name for target in sensors["new_versions_folder"].targets} == {"rollout_b", "promote_b"}


@pytest.fixture
def queue(tmp_path):
    """An instance with the product's own dagster.yaml, and room for one rollout."""
    prepare_dagster_home(tmp_path, tmp_path / "socket", max_rollouts=1)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def test_what_is_launched_by_hand_waits_in_dagsters_queue_for_the_models_run_and_for_room(desk, queue):
    load(desk, *map(named, ("tiny", "b")))

    def launched(job, **about):
        job = desk.defs.resolve_job_def(job)
        return queue.create_run_for_job(job, tags=dict(job.tags), **about)

    def pools(runs, at_work):
        """One pass of the daemon over the queue."""
        return GlobalOpConcurrencyLimitsCounter(
            queue,
            runs,
            at_work,
            concurrency_keys=queue.event_log_storage.get_concurrency_keys(),
            pool_limits=queue.event_log_storage.get_pool_limits(),
            pool_granularity=settings.pool_config.pool_granularity,
        )

    settings = queue.get_concurrency_config()
    running = launched("rollout_tiny", status=dg.DagsterRunStatus.STARTED)
    pools([running], [])  # its own pass, in which Dagster learns of its pool
    at_work = queue.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    queued = {job: launched(job) for job in ("promote_tiny", "rollout_b", "promote_b")}
    by_pool = pools(list(queued.values()), at_work)
    by_tag = TagConcurrencyLimitsCounter(settings.run_queue_config.tag_concurrency_limits, [running])

    assert {job: (by_pool.is_blocked(run), by_tag.is_blocked(run)) for job, run in queued.items()} == {
        "promote_tiny": (True, False),
        "rollout_b": (False, True),
        "promote_b": (False, False),
    }


def test_the_partition_of_the_live_release_may_be_deleted_and_the_next_version_goes_live(desk):
    desk.world.hub.publish("v1")
    desk.roll_out()
    desk.instance.delete_dynamic_partition("tiny_releases", desk.live)

    assert desk.tick()[0] == []
    first = desk.live
    desk.world.hub.publish("v2")
    desk.roll_out()

    assert desk.live not in (None, first)
