"""The strategy for where no surge fits, through the whole graph: the live release stops first, and only if it may."""

import dagster as dg

from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.record import Phase
from genai_pipeline.core.verdict import failed, inconclusive
from tests.defs.beginnings import begin_with
from tests.fakes.model_texts import model_with_tools


def model(desk, allow_downtime, strategy="recreate"):
    rollout = f"{{strategy: {strategy}, allow_downtime: {str(allow_downtime).lower()}}}"
    text = f"name: tiny\nsource: {{hub: owner/tiny, ref: main}}\nrollout: {rollout}\n"
    desk.load(ModelFiles((model_with_tools(text, "models/tiny.yaml"),), ()))


def publish(desk, content):
    desk.world.hub.publish(content)
    return desk.roll_out()


def test_the_live_release_stops_before_the_next_one_starts(desk):
    model(desk, allow_downtime=True)
    begin_with(desk, "v1")
    v1 = desk.live

    result = publish(desk, "v2")

    assert result.success
    assert desk.live != v1
    old = desk.world.cluster.get("Deployment", f"tiny-{v1}")
    assert old["spec"]["replicas"] == 0
    (plan,) = [
        e.step_materialization_data.materialization.metadata["plan"].value
        for e in result.all_events
        if e.is_step_materialization and e.asset_key == dg.AssetKey(["tiny", "capacity"])
    ]
    assert [(r.data["what"], r.data["source"][:7]) for r in plan.records] == [
        ("strategy", ""),
        ("expected downtime", "release"),
    ]


def test_without_leave_to_interrupt_the_live_release_stays_and_the_next_one_is_rejected(desk):
    model(desk, allow_downtime=True)
    begin_with(desk, "v1")
    v1 = desk.live
    model(desk, allow_downtime=False)

    result = publish(desk, "v2")

    assert not result.success
    assert desk.live == v1
    assert desk.world.cluster.get("Deployment", f"tiny-{v1}")["spec"]["replicas"] == 1
    rejected = next(r for r in desk.releases if r != v1)
    assert desk.record(rejected).phase is Phase.REJECTED
    assert "rollout.allow_downtime is false" in desk.record(rejected).reason


def test_a_plan_older_than_the_model_file_stops_nothing(desk):
    model(desk, allow_downtime=True)
    begin_with(desk, "v1")
    v1 = desk.live
    desk.world.hub.publish("v2")
    desk.tick()
    v2 = next(r for r in desk.releases if r != v1)
    desk.materialize("capacity", v2)
    model(desk, allow_downtime=False)

    result = desk.materialize("candidate", v2)

    assert not result.success
    assert desk.world.cluster.get("Deployment", f"tiny-{v1}")["spec"]["replicas"] == 1
    assert desk.record(v2).phase is Phase.ROLLING_OUT


def test_a_candidate_that_fails_gives_the_room_back(desk):
    model(desk, allow_downtime=True)
    begin_with(desk, "v1")
    v1 = desk.live
    desk.verdicts["candidate"] = [failed(v.check, "no answer") for v in desk.verdicts["candidate"]]

    result = publish(desk, "v2")

    assert not result.success
    assert desk.live == v1
    assert desk.world.cluster.get("Deployment", f"tiny-{v1}")["spec"]["replicas"] == 1


def test_a_rerun_that_finds_the_live_release_stopped_goes_on_as_it_began(desk, monkeypatch):
    model(desk, allow_downtime=True)
    begin_with(desk, "v1")
    good = desk.verdicts["candidate"]
    desk.verdicts["candidate"] = [inconclusive(v.check, "silent") for v in good]
    publish(desk, "v2")
    v2 = desk.releases[-1]
    desk.verdicts["candidate"] = good
    model(desk, allow_downtime=False, strategy="auto")  # there is room now: the live release has left it
    monkeypatch.setattr("genai_pipeline.automation.rollouts.utc_now", lambda: "2999-01-01T00:00:00Z")

    result = desk.roll_out()

    assert result.success
    assert desk.live == v2
    assert desk.record(v2).facts.strategy == "recreate"
    assert "interrupted by design" in desk.record(v2).verdicts["live.no_failed_request"].summary
