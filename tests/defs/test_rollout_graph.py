import dagster as dg
import pytest

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.purpose import checks_of as spec_checks
from genai_pipeline.core.record import Phase
from genai_pipeline.core.verdict import failed, inconclusive
from tests.defs.beginnings import begin_with
from tests.fakes.weights import safetensors


def checks_of(result):
    return {
        (e.asset_key.path[-1], e.check_name): e
        for e in result.get_asset_check_evaluations()
        if e.asset_key.path[0] == "tiny"
    }


def test_a_new_version_is_proven_by_one_run_and_promoted_by_the_next(desk):
    desk.world.hub.publish("v1")

    proven = checks_of(desk.prove())

    (release,) = desk.releases
    assert desk.live is None
    assert desk.record(release).may_go_live
    (request,), _ = desk.tick()
    assert (request.job_name, request.run_key) == ("promote_tiny", f"tiny:{release}:1:promote:1")
    assert f"{release} is proven" in request.tags["genai/reason"]
    promoted = checks_of(desk.run(request))
    assert desk.live == release
    assert desk.record(release).phase is Phase.LIVE
    asked = {asset: checks for asset, checks in spec_checks(desk.spec).items() if asset != "live"}
    assert set(proven) == {(asset, check) for asset, checks in asked.items() for check in checks}
    assert set(promoted) == {("live", check) for check in CHECKS["live"]}
    assert all(e.passed for e in [*proven.values(), *promoted.values()])


def test_the_release_stands_in_every_checks_evidence(desk):
    desk.world.hub.publish("v1")

    result = desk.roll_out()

    found = [*checks_of(result).values(), *checks_of(desk.promotion).values()]
    assert {e.metadata["release"].value for e in found} == {desk.live}


@pytest.mark.parametrize(
    ("asset", "check"),
    [
        (asset, check)
        for asset in ("candidate", "serving_report", "agent_report")
        for check in CHECKS[asset]
        if check not in ("tool_calling", "gpu_health")  # test_tool_calling_gate.py; the model has no GPU
    ],
)
def test_one_failed_check_rejects_the_release_and_live_stays_live(desk, asset, check):
    begin_with(desk, "v1")
    v1 = desk.live
    desk.verdicts[asset] = [failed(v.check, "too slow") if v.check == check else v for v in desk.verdicts[asset]]
    desk.world.hub.publish("v2")

    result = desk.roll_out()

    v2 = next(r for r in desk.releases if r != v1)
    assert not result.success
    assert not checks_of(result)[(asset, check)].passed
    assert not [e for e in result.all_events if e.step_key == "tiny__live"], "what serves is not shown as failed"
    assert desk.live == v1
    assert desk.record(v2).phase is Phase.REJECTED
    assert f"{asset}.{check}: too slow" in desk.record(v2).reason
    assert not [d for d in desk.world.cluster.list("Deployment") if v2 in d["metadata"]["name"]]
    assert desk.tick()[0] == []


def test_the_run_of_a_rejected_release_that_is_executed_again_starts_nothing(desk):
    """All would pass this time, and nobody would take away what m/live then refuses."""
    good = desk.verdicts["serving_report"]
    desk.verdicts["serving_report"] = [failed(v.check, "too slow") for v in good]
    desk.world.hub.publish("v1")
    (request,), _ = desk.tick()
    desk.run(request)
    before = desk.record(request.partition_key)
    desk.verdicts["serving_report"] = good

    again = desk.run(request)

    assert not again.success
    assert "was rejected: serving_report" in again.failure_data_for_node("tiny__snapshot").error.message
    assert desk.world.cluster.list("Deployment") == []
    assert desk.record(request.partition_key) == before


def test_a_release_that_is_asked_for_no_more_is_not_brought_back_by_its_last_asset_alone(desk):
    begin_with(desk, "v1", "v2")
    v1 = desk.releases[0]
    before = desk.record(v1)

    result = desk.materialize("live", v1)

    assert not result.success
    assert "genai rollback tiny --to" in result.failure_data_for_node("tiny__live").error.message
    assert desk.record(v1) == before


def test_an_inconclusive_check_stops_the_run_and_is_tried_again(desk, monkeypatch):
    desk.world.hub.publish("v1")
    good = desk.verdicts["serving_report"]
    desk.verdicts["serving_report"] = [inconclusive(v.check, "engine silent") for v in good]

    result = desk.roll_out()

    assert not result.success
    found = [each for each in result.get_asset_check_evaluations() if not each.passed]
    assert {each.severity for each in found} == {dg.AssetCheckSeverity.WARN}
    assert not result.asset_materializations_for_node("tiny__agent_candidate")
    assert desk.live is None
    assert desk.record(desk.releases[0]).phase is Phase.ROLLING_OUT
    desk.verdicts["serving_report"] = good
    monkeypatch.setattr("genai_pipeline.automation.rollouts.utc_now", lambda: "2999-01-01T00:00:00Z")
    assert desk.roll_out().success
    assert desk.live == desk.releases[0]


def test_attempts_without_a_verdict_end_in_a_rejection_that_says_so(desk, monkeypatch):
    desk.world.hub.publish("v1")
    desk.verdicts["serving_report"] = [inconclusive(v.check, "engine silent") for v in desk.verdicts["serving_report"]]
    monkeypatch.setattr("genai_pipeline.automation.rollouts.utc_now", lambda: "2999-01-01T00:00:00Z")
    desk.roll_out()
    desk.roll_out()

    requests, _ = desk.tick()

    assert requests == []
    record = desk.record(desk.releases[0])
    assert record.phase is Phase.REJECTED
    assert "2 attempts ended without a verdict" in record.reason


def test_the_interlock_refuses_a_release_materialized_by_hand_without_its_proof(desk):
    desk.world.hub.publish("v1")
    desk.tick()

    result = desk.materialize("live", desk.releases[0])

    assert not result.success
    failure = result.failure_data_for_node("tiny__live")
    assert "may not go live" in failure.error.message + str(failure.user_failure_data)
    assert desk.live is None
    assert desk.record(desk.releases[0]).phase is Phase.ROLLING_OUT


def test_a_candidate_that_never_becomes_ready_ends_with_the_diagnosis(desk):
    desk.world.hub.publish("v1")
    desk.world.cluster.not_ready["tiny-"] = "engine exited with 1: unrecognized arguments: --foo. Check serving.args."

    result = desk.roll_out()

    assert not result.success
    evaluation = checks_of(result)[("candidate", "expected_model_answers")]
    assert not evaluation.passed
    assert "unrecognized arguments" in evaluation.description
    assert evaluation.metadata["outcome"].value == "inconclusive"


def test_a_hub_that_is_down_burns_no_attempt(desk):
    desk.world.hub.publish("v1")
    desk.world.hub.down = True

    requests, why = desk.tick()

    assert requests == []
    assert "did not answer" in why
    assert desk.releases == []


def test_an_unknown_ref_is_said_in_the_tick(desk):
    requests, why = desk.tick()

    assert requests == []
    assert "has no ref main" in why


def test_a_pickle_is_refused_before_anything_is_staged(desk):
    desk.world.hub.publish("bad", files={"config.json": b"{}", "pytorch_model.bin": b"x"})

    result = desk.roll_out()

    assert not checks_of(result)[("snapshot", "safe_formats")].passed
    assert desk.record(desk.releases[0]).phase is Phase.REJECTED
    assert not list(desk.world.store.list("models/"))


def test_a_missing_shard_is_named_and_nothing_is_staged(desk):
    index = b'{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}'
    desk.world.hub.publish("bad", files={"model.safetensors.index.json": index, "one.safetensors": b"w"})

    result = desk.roll_out()

    assert "two.safetensors" in checks_of(result)[("snapshot", "weights_loadable")].description
    assert desk.record(desk.releases[0]).phase is Phase.REJECTED
    assert not list(desk.world.store.list("models/"))


def test_a_model_that_must_chat_and_has_no_chat_template_stages_nothing(desk):
    desk.world.hub.publish("bad", files={"config.json": b"{}", "model.safetensors": safetensors(b"w")})

    result = desk.roll_out()

    assert "no chat template" in checks_of(result)[("snapshot", "weights_loadable")].description
    assert not list(desk.world.store.list("models/"))


def test_a_store_that_goes_down_in_the_middle_is_named_and_the_next_attempt_goes_live(desk, monkeypatch):
    desk.world.hub.publish("v1")
    accept = desk.verdicts["candidate"]
    monkeypatch.setattr(
        "genai_pipeline.loadtest.acceptance.accept_candidate", lambda *a, **k: desk.world.store.go_down() or accept
    )

    result = desk.roll_out()

    assert not result.success
    assert "The store did not answer" in str(result.failure_data_for_node("tiny__candidate").user_failure_data)
    requests, why = desk.tick()
    assert requests == []
    assert "The store did not answer" in why
    desk.world.store.come_back()
    monkeypatch.setattr("genai_pipeline.loadtest.acceptance.accept_candidate", lambda *a, **k: accept)
    monkeypatch.setattr("genai_pipeline.automation.rollouts.utc_now", lambda: "2999-01-01T00:00:00Z")
    assert desk.roll_out().success
    assert desk.live == desk.releases[0]


def test_a_licence_that_is_not_allowed_is_refused(desk):
    desk.world.hub.licence = "proprietary"
    desk.world.hub.publish("v1")

    assert not checks_of(desk.roll_out())[("snapshot", "licence_allowed")].passed


def test_ticks_while_a_run_is_under_way_start_nothing(desk):
    desk.world.hub.publish("v1")
    (request,), _ = desk.tick()
    job = desk.defs.resolve_job_def("rollout_tiny")
    desk.instance.create_run_for_job(job, tags=request.tags, status=dg.DagsterRunStatus.STARTED)

    requests, why = desk.tick()

    assert requests == []
    assert "under way" in why


def test_publishing_the_former_version_again_proves_it_again(desk):
    begin_with(desk, "v1", "v2")
    v1 = desk.releases[0]
    assert desk.live != v1
    desk.world.hub.publish("v1")

    result = desk.roll_out()

    assert result.success
    assert desk.live == v1
    assert desk.record(v1).attempt == 2


def test_run_keys_never_repeat(desk):
    keys = set()
    for content in ("v1", "v2", "v1", "v2"):
        desk.world.hub.publish(content)
        (request,), _ = desk.tick()
        assert request.run_key not in keys
        keys.add(request.run_key)
        desk.run(request)
        (promotion,), _ = desk.tick()
        keys.add(promotion.run_key)
        desk.run(promotion)

    assert len(keys) == 8
