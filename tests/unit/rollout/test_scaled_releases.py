"""The life of releases of plain vLLM whose replicas follow the load, over the in-memory world."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from genai_pipeline.core.errors import NotReady, Refused, UnknownKind
from genai_pipeline.core.faults import ARMED_BY, Crash
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import render_live
from genai_pipeline.rollout.capacity.capacity_plan import rooms_for
from genai_pipeline.rollout.capacity.survey import survey
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.upkeep.drift_detection import drift_of
from genai_pipeline.rollout.upkeep.redeployment import Redeploy
from tests.fakes.world import KUBERNETES, FakeCluster
from tests.unit.rollout.test_without_agent import Stage

TEXT = "name: tiny\nsource: {hub: a/b}\nagent: none\nrollout: {watch_minutes: 2}\n"
FIXED = parse_model(TEXT, "f")
SCALED = parse_model(f"{TEXT}serving: {{replicas: {{min: 2, max: 5}}}}\n", "f")
WATCHED = replace(KUBERNETES, prometheus_url="http://prometheus.monitoring.svc:9090")
RELEASE = Release.of(SCALED, "1" * 40)
PATHS = pytest.mark.parametrize(("before", "after"), [(SCALED, SCALED), (FIXED, SCALED), (SCALED, FIXED)])


@pytest.fixture
def stage():
    return Stage(WATCHED)


def scaler(stage, release):
    return stage.world.cluster.get("ScaledObject", release.object_name)


def replicas(stage, release):
    return stage.world.cluster.get("Deployment", release.object_name)["spec"]["replicas"]


def logged(stage, act):
    stage.world.cluster.log.clear()
    act()
    return stage.world.cluster.log


def test_only_plain_vllm_needs_an_autoscaler_beside_it():
    on_ray = parse_model(f"{TEXT}serving: {{engine: ray, image: 'ray:1', replicas: {{min: 1, max: 5}}}}\n", "f")

    assert RELEASE.scales
    assert not Release.of(FIXED, "1" * 40).scales
    assert not Release.of(on_ray, "1" * 40).scales


def test_a_candidate_starts_with_the_fewest_replicas_and_its_scaler(stage):
    release = stage.release(SCALED, "1")

    assert scaler(stage, release)
    assert replicas(stage, release) == 2
    assert stage.candidates.replicas_up(release) == 2


def test_a_second_apply_leaves_the_number_that_the_autoscaler_chose(stage):
    release = stage.release(SCALED, "1")
    stage.world.cluster.scale(release.object_name, 4)

    stage.candidates.start_engine(SCALED, release, lambda _: None)

    assert replicas(stage, release) == 4


def test_the_scaler_goes_before_its_release_stops_and_comes_back_before_it_starts(stage):
    release = stage.live(SCALED, "1")
    name = release.object_name

    assert logged(stage, lambda: stage.candidates.stop(release)) == [f"delete ScaledObject {name}", f"scale {name} 0"]
    assert scaler(stage, release) is None
    assert not stage.candidates.is_warm(release)

    stage.candidates.restart(SCALED, release)

    assert scaler(stage, release)
    assert replicas(stage, release) == 2


def test_the_end_of_a_watch_takes_the_scaler_of_the_last_good_release_first(stage):
    first, _ = stage.live(SCALED, "1"), stage.live(SCALED, "2")

    said = logged(stage, lambda: stage.candidates.tell_to_stop(first))

    assert said == [f"delete ScaledObject {first.object_name}", f"scale {first.object_name} 0"]


def test_a_running_release_is_left_as_it_is_when_it_is_started_again(stage):
    release = stage.live(SCALED, "1")
    stage.world.cluster.scale(release.object_name, 5)

    assert logged(stage, lambda: stage.candidates.restart(SCALED, release)) == []


@PATHS
@pytest.mark.parametrize("stopped", [False, True])
def test_a_rollback_leads_to_a_release_that_is_scaled_again(stage, before, after, stopped):
    first, second = stage.live(before, "1"), stage.live(after, "2")
    if stopped:
        stage.candidates.stop(first)

    stage.back.begin("tiny", "it misbehaves", "a test")
    stage.back.finish("tiny", lambda _: None)

    assert stage.traffic.is_on(first)
    assert replicas(stage, first) == before.serving.replicas.min
    assert bool(scaler(stage, first)) == before.serving.scales
    assert not [name for _, name in stage.world.cluster.objects if name.startswith(second.object_name)]


@pytest.mark.parametrize("point", ["rollout.scaler_removed", "rollout.stopping", "rollout.scaler_applied"])
def test_killed_while_it_stops_or_starts_again_it_ends_the_same(stage, monkeypatch, point):
    release = stage.live(SCALED, "1")
    monkeypatch.setattr("genai_pipeline.core.faults._passed", Counter())
    monkeypatch.setenv(ARMED_BY, f"{point}:exception")

    def stop_and_start():
        stage.candidates.stop(release)
        stage.candidates.restart(SCALED, release)

    with pytest.raises(Crash):
        stop_and_start()
    monkeypatch.delenv(ARMED_BY)

    stop_and_start()

    assert stage.candidates.is_warm(release)
    assert scaler(stage, release)


def test_a_start_that_is_killed_leaves_no_release_that_is_up_without_its_scaler(stage, monkeypatch):
    """One that is up is not started again, so that nothing would bring the scaler."""
    release = stage.live(SCALED, "1")
    stage.candidates.stop(release)
    monkeypatch.setattr("genai_pipeline.core.faults._passed", Counter())
    monkeypatch.setenv(ARMED_BY, "rollout.scaler_applied:exception")

    with pytest.raises(Crash):
        stage.candidates.restart(SCALED, release)

    assert scaler(stage, release)
    assert not stage.candidates.is_warm(release)


def test_without_keda_it_is_refused_in_words_and_nothing_of_it_is_applied(stage):
    stage.world.cluster.unknown_kinds = {"ScaledObject"}

    for act in (
        lambda: stage.candidates.refuse_unknown(SCALED, RELEASE),
        lambda: stage.candidates.start_engine(SCALED, RELEASE, lambda _: None),
    ):
        with pytest.raises(UnknownKind, match="no KEDA") as error:
            act()
        assert "Install KEDA" in error.value.remedy
        assert "serving.replicas.max" in error.value.remedy
    assert not [name for kind, name in stage.world.cluster.objects if kind in ("Deployment", "Service")]
    stage.candidates.refuse_unknown(FIXED, Release.of(FIXED, "1" * 40))


def test_without_a_prometheus_it_is_refused_and_what_serves_already_goes_on_as_it_is():
    stage = Stage(KUBERNETES)

    with pytest.raises(Refused, match="no Prometheus"):
        stage.candidates.refuse_unknown(SCALED, RELEASE)

    release = stage.live(SCALED, "1")
    assert scaler(stage, release) is None
    assert replicas(stage, release) == 2
    assert not stage.candidates.adds_replicas(release)


def test_a_keda_that_lets_nothing_go_is_named(stage, monkeypatch):
    release = stage.live(SCALED, "1")

    def held(kind, name, deadline_s=60):
        raise NotReady(f"{kind} {name} still exists.")

    monkeypatch.setattr(stage.world.cluster, "delete", held)

    with pytest.raises(NotReady, match="KEDA's operator"):
        stage.candidates.stop(release)
    assert replicas(stage, release) == 2


def test_a_release_adds_replicas_while_more_are_asked_for_than_are_up(stage):
    release = stage.live(SCALED, "1")
    deployment = stage.world.cluster.get("Deployment", release.object_name)

    def adds(asked, up):
        deployment["spec"]["replicas"], deployment["status"]["availableReplicas"] = asked, up
        return stage.candidates.adds_replicas(release)

    assert [adds(2, 2), adds(3, 2), adds(3, 3), adds(2, 3)] == [False, True, False, False]


def test_a_number_that_the_autoscaler_chose_is_no_drift(stage):
    release = stage.live(SCALED, "1")
    stage.world.cluster.scale(release.object_name, 4)

    found = drift_of(stage.world.cluster, render_live(SCALED, release, WATCHED))

    assert not [d for d in found.differences if d.kind in ("Deployment", "ScaledObject")]


def redeploy(stage, profile=WATCHED):
    notices = Notices(stage.world.store)
    redeploys = Redeploy(stage.world.cluster, stage.records, stage.traffic, notices, profile)
    redeploys.carry_out(SCALED, "a test", "cause", lambda _: None)


def test_a_redeploy_starts_what_kubernetes_scales_down_when_the_number_is_dropped():
    """A version before this one named the number, so that the first apply without it leaves one replica."""
    stage = Stage(KUBERNETES)
    release = stage.live(SCALED, "1")
    cluster = stage.world.cluster
    drops_the_number(cluster, release)

    redeploy(stage)

    assert replicas(stage, release) == 2
    assert scaler(stage, release)


def drops_the_number(cluster: FakeCluster, release: Release) -> None:
    apply = cluster.apply

    def applied(objects, take_back=False):
        done = apply(objects, take_back)
        if any(o["kind"] == "Deployment" and "replicas" not in o["spec"] for o in objects):
            cluster.objects["Deployment", release.object_name]["spec"]["replicas"] = 1
        return done

    cluster.apply = applied  # type: ignore[method-assign]


def test_a_redeploy_removes_the_scaler_that_is_no_longer_rendered(stage):
    release = stage.live(SCALED, "1")
    assert scaler(stage, release)

    redeploy(stage, KUBERNETES)

    assert scaler(stage, release) is None
    assert replicas(stage, release) == 2


def test_a_redeploy_without_keda_names_it_and_changes_nothing(stage):
    release = stage.live(SCALED, "1")
    stage.world.cluster.unknown_kinds = {"ScaledObject"}
    deployment = stage.world.cluster.get("Deployment", release.object_name)

    with pytest.raises(UnknownKind, match="no KEDA"):
        redeploy(stage)

    assert stage.world.cluster.get("Deployment", release.object_name) is deployment


def test_the_most_replicas_need_room(stage):
    gateways = stage.world.gateways()
    needed = {}
    for spec in (FIXED, SCALED):
        found = survey(gateways, WATCHED, spec, Release.of(spec, "1" * 40), None)
        needed[spec.serving.scales] = {room.resource: room.needed for room in rooms_for(spec, found)}

    assert needed[True]["memory_gib"] == 5 * needed[False]["memory_gib"]


def test_where_nothing_scales_the_fewest_need_room():
    stage = Stage(KUBERNETES)

    found = survey(stage.world.gateways(), KUBERNETES, SCALED, RELEASE, None)

    assert found.engine.replicas == 2


def test_a_release_is_removed_whole(stage):
    release = stage.live(SCALED, "1")

    stage.candidates.remove(release)

    kinds = {kind for kind, name in stage.world.cluster.objects if name == release.object_name}
    assert kinds == set()


def fewest(stage, release):
    return scaler(stage, release)["spec"]["minReplicaCount"]


@PATHS
def test_a_release_takes_over_with_as_many_replicas_as_the_one_before_it_has(stage, before, after):
    first = stage.live(before, "1")
    stage.world.cluster.scale(first.object_name, 4)
    second = stage.release(after, "2")
    seen = []

    def watching(*about):
        seen.append((replicas(stage, second), stage.traffic.on("tiny")))
        return stage.world.watch_traffic(*about)

    assert all(verdict.passed for verdict in stage.go(second, watching, after))

    assert seen == [(4 if after.serving.scales else 1, first.id)]
    if after.serving.scales:
        assert fewest(stage, second) == 2
        assert replicas(stage, second) == 4  # the autoscaler ends what its load does not need


def test_no_more_are_started_than_the_model_file_allows_and_none_where_few_are_enough(stage):
    first = stage.live(SCALED, "1")
    stage.world.cluster.scale(first.object_name, 9)
    second = stage.live(SCALED, "2")
    assert replicas(stage, second) == 5

    stage.world.cluster.scale(second.object_name, 2)
    third = stage.release(SCALED, "3")
    assert not [
        said
        for said in logged(stage, lambda: stage.go(third, spec=SCALED))
        if said.startswith("scale " + third.object_name)
    ]


def test_the_last_good_release_keeps_its_replicas_while_it_is_watched_and_scales_after_a_rollback(stage):
    first = stage.live(SCALED, "1")
    stage.world.cluster.scale(first.object_name, 4)
    stage.live(SCALED, "2")
    assert fewest(stage, first) == 4

    stage.back.begin("tiny", "it misbehaves", "a test")
    assert replicas(stage, first) == 4
    stage.back.finish("tiny", lambda _: None)

    assert fewest(stage, first) == 2


def test_a_rollback_to_a_stopped_release_starts_as_many_as_have_the_traffic(stage):
    first, second = stage.live(SCALED, "1"), stage.live(SCALED, "2")
    stage.world.cluster.scale(second.object_name, 4)
    stage.candidates.stop(first)

    stage.back.begin("tiny", "it misbehaves", "a test")
    stage.back.finish("tiny", lambda _: None)

    assert replicas(stage, first) == 4
    assert fewest(stage, first) == 2


def test_the_traffic_does_not_move_to_fewer_replicas_than_it_needs(stage, monkeypatch):
    first = stage.live(SCALED, "1")
    stage.world.cluster.scale(first.object_name, 4)
    second = stage.release(SCALED, "2")
    monkeypatch.setattr(stage.world.cluster, "_run", lambda deployment: None)  # no node has room
    candidates = Candidates(stage.world.gateways(), WATCHED, sleep=lambda _: None)

    with pytest.raises(NotReady, match="2 of 4 replicas"):
        candidates.take_over(SCALED, second, first, lambda _: None)

    assert stage.traffic.is_on(first)
    assert fewest(stage, second) == 2


def test_a_cut_over_that_is_killed_with_its_replicas_held_ends_the_same(stage, monkeypatch):
    first = stage.live(SCALED, "1")
    stage.world.cluster.scale(first.object_name, 4)
    second = stage.release(SCALED, "2")
    monkeypatch.setattr("genai_pipeline.core.faults._passed", Counter())
    monkeypatch.setenv(ARMED_BY, "rollout.replicas_held:exception")
    with pytest.raises(Crash):
        stage.go(second, spec=SCALED)
    monkeypatch.delenv(ARMED_BY)
    assert stage.traffic.is_on(first)

    assert all(verdict.passed for verdict in stage.go(second, spec=SCALED))

    assert (fewest(stage, first), fewest(stage, second)) == (4, 2)


@pytest.mark.parametrize("killed_at", ["rollout.drained", "rollout.scaler_removed", "rollout.stopping"])
def test_no_replica_goes_while_its_release_drains_and_what_is_stopped_is_not_held(stage, monkeypatch, killed_at):
    unwatched = SCALED.model_copy(update={"rollout": SCALED.rollout.model_copy(update={"watch_minutes": 0})})
    first = stage.live(unwatched, "1")
    stage.world.cluster.scale(first.object_name, 4)
    second = stage.release(unwatched, "2")
    monkeypatch.setattr("genai_pipeline.core.faults._passed", Counter())
    monkeypatch.setenv(ARMED_BY, f"{killed_at}:exception")
    with pytest.raises(Crash):
        stage.go(second, spec=unwatched)
    monkeypatch.delenv(ARMED_BY)
    stopped = not replicas(stage, first)
    if killed_at == "rollout.drained":
        assert fewest(stage, first) == 4

    applied, apply = [], stage.world.cluster.apply
    monkeypatch.setattr(stage.world.cluster, "apply", lambda objects: applied.extend(objects) or apply(objects))

    assert all(verdict.passed for verdict in stage.go(second, spec=unwatched))

    scalers = [o["metadata"]["name"] for o in applied if o["kind"] == "ScaledObject"]
    assert (first.object_name in scalers) is not stopped
    assert scaler(stage, first) is None
    assert replicas(stage, first) == 0
