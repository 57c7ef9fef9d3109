"""What differs from what this code renders is seen, told, and, where the model file says so, set right."""

from collections import Counter
from dataclasses import replace

import dagster as dg
import pytest

from genai_pipeline.core.errors import ClusterUnavailable
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.resources.engines import Engines
from tests.defs.beginnings import begin_with
from tests.defs.upkeep_desk import evaluations, redeploy, run, tick
from tests.fakes.model_texts import model_with_tools

HEALING = "name: tiny\nsource: {hub: owner/tiny, ref: main}\nrollout: {self_heal: true}\n"


@pytest.fixture(autouse=True)
def _no_crash_point_was_passed_yet(monkeypatch):
    monkeypatch.setattr("genai_pipeline.core.faults._passed", Counter())


def reload(desk, text):
    desk.load(ModelFiles((model_with_tools(text, "models/tiny.yaml"),), ()))


def edit(desk, image="nginx:1"):
    """As somebody with kubectl does."""
    found = desk.world.cluster.get("Deployment", f"tiny-{desk.live}")
    found["spec"]["template"]["spec"]["containers"][0]["image"] = image


def upgrade(desk, monkeypatch, version="9.9.9"):
    """Another version of this package: its agent's image is another one."""
    for module in ("k8s.agent", "rollout.upkeep.drift_detection"):
        monkeypatch.setattr(f"genai_pipeline.{module}.package_version", lambda: version)
    reload_as_it_is(desk)


def reload_as_it_is(desk):
    """As a code server that was started anew."""
    desk.load(ModelFiles((desk.spec,), ()))


def compared(desk):
    return evaluations(run(desk, "live_drift"))["matches_rendered"]


def notices(desk):
    return [str(n.kind) for n in desk.engines.notices().waiting()]


def test_what_was_just_rolled_out_is_as_rendered_and_nothing_is_due(desk):
    begin_with(desk, "v1")

    found = compared(desk)

    assert found.passed
    assert found.metadata["release"].value == desk.live
    assert tick(desk, "redeploys") == ([], "Every live release is deployed as this code renders it.")


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget"])
def test_a_missing_object_of_every_kind_is_seen(desk, kind):
    begin_with(desk, "v1")
    name = next(name for k, name in desk.world.cluster.objects if k == kind and name.startswith("tiny"))
    del desk.world.cluster.objects[(kind, name)]

    found = compared(desk)

    assert not found.passed
    assert f"{kind} {name} is missing" in found.description


def test_drift_is_shown_as_a_table_and_reported_once(desk):
    begin_with(desk, "v1")
    edit(desk)

    first, _ = compared(desk), compared(desk)

    assert not first.passed
    assert first.severity is dg.AssetCheckSeverity.ERROR
    (row,) = first.metadata["differences"].value.records
    assert row.data["field"] == "spec.template.spec.containers[0].image"
    assert row.data["in the cluster"] == "nginx:1"
    assert notices(desk) == ["drift"]
    assert tick(desk, "redeploys")[0] == []


def test_with_self_heal_it_is_set_right_proven_and_written_down(desk):
    begin_with(desk, "v1")
    reload(desk, HEALING)
    edit(desk)
    compared(desk)

    result = redeploy(desk)

    assert result.success
    assert compared(desk).passed
    assert notices(desk) == []
    record = desk.record(desk.live)
    assert record.history[-1].what.startswith("redeployed: drift: Deployment tiny-")
    assert tick(desk, "redeploys")[0] == []


def test_the_same_drift_a_second_time_is_healed_a_second_time(desk):
    begin_with(desk, "v1")
    reload(desk, HEALING)
    keys = set()
    for _ in range(3):
        edit(desk)
        compared(desk)
        (request,), _ = tick(desk, "redeploys")
        keys.add(request.run_key)
        assert run(desk, "redeploy", request.run_config, request.tags).success

    assert len(keys) == 3


def test_a_cluster_that_cannot_be_asked_is_a_warning_and_heals_nothing(desk, monkeypatch):
    begin_with(desk, "v1")
    reload(desk, HEALING)

    def down(*args, **kwargs):
        raise ClusterUnavailable("The API did not answer.", "Wait.")

    monkeypatch.setattr(desk.world.cluster, "diff", down)
    found = compared(desk)

    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert found.metadata["outcome"].value == "inconclusive"
    assert tick(desk, "redeploys")[0] == []


def test_nothing_is_compared_or_redeployed_during_a_rollout_or_a_watch(desk, monkeypatch):
    from genai_pipeline.core.record import live_key

    begin_with(desk, "v1")
    upgrade(desk, monkeypatch)
    live = desk.engines.records().live("tiny")
    desk.world.store.put(live_key("tiny"), replace(live, watched_until="2999-01-01T00:00:00Z").to_bytes())
    assert "is being watched" in compared(desk).description
    assert "is being watched" in tick(desk, "redeploys")[1]
    desk.world.store.put(live_key("tiny"), live.to_bytes())

    job = desk.defs.resolve_job_def("rollout_tiny")
    desk.instance.create_run_for_job(job, tags={"genai/model": "tiny"}, status=dg.DagsterRunStatus.STARTED)

    assert "under way" in compared(desk).description
    assert "under way" in tick(desk, "redeploys")[1]


def test_a_new_version_of_this_code_redeploys_what_is_live_with_its_reason(desk, monkeypatch):
    begin_with(desk, "v1")
    upgrade(desk, monkeypatch)
    (request,), _ = tick(desk, "redeploys")

    result = run(desk, "redeploy", request.run_config, request.tags)

    assert result.success
    image = "genai-pipeline/strands-agent"
    reason = f"code location 0.1.0 -> 9.9.9; agent: image changed from {image}:0.1.0 to {image}:9.9.9"
    assert request.tags["genai/reason"] == reason
    assert request.tags["genai/model"] == "tiny"
    agent = desk.world.cluster.get("Deployment", f"tiny-agent-{desk.live}")
    assert agent["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":9.9.9")
    assert desk.record(desk.live).history[-1].what == f"redeployed: {reason}"
    assert tick(desk, "redeploys")[0] == []


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (
            {"agent_image": "registry/agent:2"},
            "agent: image changed from genai-pipeline/strands-agent:0.1.0 to registry/agent:2",
        ),
        ({"weather_url": "https://wttr.in"}, "agent: weather.url changed from http://weather to https://wttr.in"),
        ({"agent_replicas": 2}, "agent: autoscaling.maxReplicas changed from 1 to 2; replicaCount changed from 1 to 2"),
        ({"otlp_endpoint": "http://otel"}, "agent: otlp.endpoint changed from  to http://otel"),
    ],
)
def test_another_image_or_setting_of_the_agent_redeploys_it_and_says_which(desk, setting, reason):
    begin_with(desk, "v1")
    desk.engines = Engines(replace(desk.engines.profile, **setting), desk.engines.gateways)
    reload_as_it_is(desk)
    (request,), _ = tick(desk, "redeploys")

    assert run(desk, "redeploy", request.run_config, request.tags).success

    assert request.tags["genai/reason"] == reason
    assert desk.record(desk.live).history[-1].what == f"redeployed: {reason}"
    assert tick(desk, "redeploys")[0] == []


def test_an_autoscaler_that_is_switched_off_goes(desk):
    scaled = replace(desk.engines.profile, agent_replicas=2, agent_replicas_max=4)
    fixed, gateways = desk.engines.profile, desk.engines.gateways
    desk.engines = Engines(scaled, gateways)
    reload_as_it_is(desk)
    begin_with(desk, "v1")
    name = f"tiny-agent-{desk.live}"
    assert desk.world.cluster.get("HorizontalPodAutoscaler", name)
    desk.engines = Engines(fixed, gateways)
    reload_as_it_is(desk)

    assert redeploy(desk).success

    assert not desk.world.cluster.get("HorizontalPodAutoscaler", name)
    assert not desk.world.cluster.get("PodDisruptionBudget", name)
    assert desk.world.cluster.get("Deployment", name)["spec"]["replicas"] == 1


def test_where_nothing_differs_after_all_that_is_noted_and_nothing_is_applied(desk, monkeypatch):
    begin_with(desk, "v1")
    facts = Facts(deployed=None)  # as of a release from before anybody wrote it down
    desk.engines.records().update("tiny", desk.live, lambda r: r.with_facts(facts))
    monkeypatch.setattr(desk.world.cluster, "apply", lambda *a, **k: pytest.fail("nothing is to be applied"))

    result = redeploy(desk)

    assert result.success
    assert desk.record(desk.live).history[-1].what.endswith("nothing differs")
    assert tick(desk, "redeploys")[0] == []


@pytest.mark.parametrize("fault", ["pods never become ready", "the stable address answers 500"])
def test_a_redeploy_that_fails_is_reported_and_not_repeated_for_the_same_cause(desk, monkeypatch, fault):
    begin_with(desk, "v1")
    upgrade(desk, monkeypatch)
    if fault.startswith("pods"):
        desk.world.cluster.not_ready["tiny-"] = "image not found"
    else:
        desk.world.broken_at_stable_address.add(desk.live)
    from genai_pipeline.rollout.switch import traffic

    monkeypatch.setattr(traffic, "SETTLE_DEADLINE_S", 0.1)

    result = redeploy(desk)

    assert not result.success
    assert notices(desk) == ["redeploy failed"]
    assert "redeploy failed" in desk.record(desk.live).history[-1].what
    assert tick(desk, "redeploys")[0] == []
    upgrade(desk, monkeypatch, "9.9.10")
    assert len(tick(desk, "redeploys")[0]) == 1


def test_killed_in_the_middle_the_next_one_ends_the_same(desk, monkeypatch):
    begin_with(desk, "v1")
    upgrade(desk, monkeypatch)
    keys = set()
    for point in ("redeploy.applied", "redeploy.proven"):
        monkeypatch.setenv("GENAI_CRASH_AT", f"{point}:exception")
        keys |= {request.run_key for request in tick(desk, "redeploys")[0]}
        assert not redeploy(desk).success
    monkeypatch.delenv("GENAI_CRASH_AT")

    assert len(keys) == 2  # Dagster starts no second run of one key
    assert redeploy(desk).success
    assert tick(desk, "redeploys")[0] == []


def test_one_that_is_killed_again_and_again_is_not_tried_for_ever(desk, monkeypatch):
    begin_with(desk, "v1")
    upgrade(desk, monkeypatch)
    for nth in (1, 2, 3):
        monkeypatch.setenv("GENAI_CRASH_AT", f"redeploy.proven:exception#{nth}")
        assert not redeploy(desk).success

    assert tick(desk, "redeploys")[0] == []


@pytest.mark.parametrize(
    ("rollout", "says"), [("{paused: true}", "paused"), ("{window: '00:00-00:01 UTC'}", "closed until")]
)
def test_paused_and_outside_its_window_it_waits_and_says_so(desk, monkeypatch, rollout, says):
    begin_with(desk, "v1")
    reload(desk, f"name: tiny\nsource: {{hub: owner/tiny, ref: main}}\nrollout: {rollout}\n")
    upgrade(desk, monkeypatch)
    monkeypatch.setattr("genai_pipeline.automation.redeploys.utc_now", lambda: "2026-03-01T12:00:00Z")

    requests, why = tick(desk, "redeploys")

    assert requests == []
    assert says in why


def test_a_rollback_by_hand_in_the_middle_keeps_the_traffic_that_it_moved(desk, monkeypatch):
    begin_with(desk, "v1", "v2")
    v2, v1 = desk.live, desk.engines.records().live("tiny").last_good
    upgrade(desk, monkeypatch)
    (request,), _ = tick(desk, "redeploys")
    apply = desk.world.cluster.apply

    def meanwhile(objects, take_back=False):
        desk.engines.records().set_live(desk.record(v1).as_release)
        return apply(objects, take_back)

    monkeypatch.setattr(desk.world.cluster, "apply", meanwhile)
    assert not run(desk, "redeploy", request.run_config, request.tags).success

    assert desk.live == v1 != v2
    assert desk.engines.traffic().on("tiny") == v1
