"""The life of releases whose engine is Ray, and of models that change their engine, over the in-memory world."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from genai_pipeline.core.errors import UnknownKind
from genai_pipeline.core.faults import ARMED_BY, Crash
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.notice import NoticeKind
from genai_pipeline.core.record import Phase
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import release_labels, render_live
from genai_pipeline.rollout.capacity.capacity_plan import rooms_for
from genai_pipeline.rollout.capacity.survey import survey
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.upkeep.drift_detection import drift_of
from genai_pipeline.rollout.upkeep.redeployment import Redeploy, due
from tests.fakes.model_texts import with_tools
from tests.fakes.world import PROFILE, ray_status
from tests.unit.rollout.test_without_agent import Stage

HEAD = "name: tiny\nsource: {hub: a/b}\nrollout: {watch_minutes: 2}\n"
RAY_TEXT = HEAD + "serving: {engine: ray, image: 'ray:2.60.0'}\n"
VLLM = parse_model(HEAD + "agent: none\n", "f")
RAY = parse_model(RAY_TEXT + "agent: none\n", "f")
RAY_WITH_AGENT = parse_model(with_tools(RAY_TEXT), "f")
MOUNTED = parse_model(RAY_TEXT.replace("ray,", "ray, weights: mount,") + "agent: none\n", "f")
PATHS = pytest.mark.parametrize(("before", "after"), [(RAY, RAY), (RAY_WITH_AGENT, RAY), (VLLM, RAY), (RAY, VLLM)])


@pytest.fixture
def stage():
    return Stage()


def objects_of(stage, release, *without):
    """What is left of a release, without the kinds that follow the traffic."""
    objects = stage.world.cluster.objects
    return {kind for kind, name in objects if name.startswith(release.object_name) and kind not in without}


def back(stage):
    stage.back.begin("tiny", "it misbehaves", "a test")
    stage.back.finish("tiny", lambda _: None)


@PATHS
def test_the_traffic_moves_back_and_the_bad_release_is_gone_whole(stage, before, after):
    first, second = stage.live(before, "1"), stage.live(after, "2")
    assert stage.traffic.is_on(second)
    assert stage.candidates.is_warm(first)

    back(stage)

    assert stage.traffic.is_on(first)
    assert stage.candidates.is_warm(first)
    assert objects_of(stage, second) == set()
    assert stage.records.require("tiny", second.id).phase is Phase.ROLLED_BACK
    assert not stage.back.unfinished("tiny")


def test_a_stopped_release_of_ray_keeps_no_pod_and_is_applied_again_from_its_record(stage):
    first, _ = stage.live(RAY, "1"), stage.live(RAY, "2")
    stage.candidates.stop(first)
    assert objects_of(stage, first) == {"Service", "PodDisruptionBudget", "NetworkPolicy"}
    assert not stage.candidates.is_up(first)

    back(stage)

    assert stage.traffic.is_on(first)
    assert stage.candidates.is_warm(first)


def test_a_release_of_ray_is_stopped_when_its_workers_are_gone(stage, monkeypatch):
    release = stage.live(RAY, "1")
    waited = []
    monkeypatch.setattr(stage.world.cluster, "wait_gone", lambda labels, deadline_s: waited.append(labels))

    stage.candidates.stop(release)

    assert waited == [release_labels(release, "engine")]


def test_a_release_of_ray_adds_replicas_while_serve_says_so(stage):
    without_ray = stage.live(VLLM, "1")
    release = stage.live(RAY, "2")
    service = stage.world.cluster.objects["RayService", release.object_name]

    def adds(status):
        service["status"] = ray_status("m-abcde", engine=(status, ""))
        return stage.candidates.adds_replicas(release)

    assert [adds(status) for status in ("HEALTHY", "UPSCALING", "DOWNSCALING")] == [False, True, False]
    assert not stage.candidates.adds_replicas(without_ray)


def test_the_end_of_a_watch_tells_a_release_of_ray_to_go(stage):
    first, second = stage.live(RAY, "1"), stage.live(RAY, "2")

    stage.candidates.tell_to_stop(first)

    assert not stage.candidates.is_up(first)
    assert stage.candidates.is_up(second)


@pytest.mark.parametrize("point", ["rollout.stopping", "rollout.started_again", "rollout.candidate_applied"])
def test_killed_while_it_stops_or_starts_again_it_ends_the_same(stage, monkeypatch, point):
    release = stage.live(RAY, "1")
    monkeypatch.setattr("genai_pipeline.core.faults._passed", Counter())
    monkeypatch.setenv(ARMED_BY, f"{point}:exception")

    def stop_and_start():
        stage.candidates.stop(release)
        stage.candidates.restart(RAY, release)
        stage.candidates.remove(release)
        stage.candidates.start_engine(RAY, release, lambda _: None)

    with pytest.raises(Crash):
        stop_and_start()
    monkeypatch.delenv(ARMED_BY)

    stop_and_start()

    assert stage.candidates.is_warm(release)


CUT_OVER_POINTS = ["traffic.moved", "rollout.selector_moved", "rollout.pointer_written"]


@PATHS
@pytest.mark.parametrize("point", CUT_OVER_POINTS)
def test_a_cut_over_that_is_killed_ends_the_same(stage, monkeypatch, before, after, point):
    first, second = stage.live(before, "1"), stage.release(after, "2")
    monkeypatch.setattr("genai_pipeline.core.faults._passed", Counter())
    monkeypatch.setenv(ARMED_BY, f"{point}:exception")
    with pytest.raises(Crash):
        stage.go(second, spec=after)
    monkeypatch.delenv(ARMED_BY)

    assert all(verdict.passed for verdict in stage.go(second, spec=after))

    assert stage.traffic.is_on(second)
    assert stage.records.live("tiny").last_good == first.id
    assert stage.candidates.is_warm(first)


def test_a_service_whose_pods_are_gone_is_not_up_whatever_kuberay_says(stage):
    release = stage.live(RAY, "1")
    cluster = stage.world.cluster
    for pod in cluster.list("Pod", {"ray.io/node-type": "worker"}):
        del cluster.objects["Pod", pod["metadata"]["name"]]

    assert cluster.get("RayService", release.object_name)["status"]["conditions"][0]["status"] == "True"
    assert not stage.candidates.is_up(release)


def test_every_worker_is_asked_to_drain(stage):
    release = stage.live(RAY, "1")
    cluster = stage.world.cluster
    (worker,) = cluster.list("Pod", {"ray.io/node-type": "worker"})
    second = worker | {"metadata": worker["metadata"] | {"name": "another"}}
    cluster.objects["Pod", "another"] = second

    assert stage.candidates.replicas_up(release) == 2


def test_a_service_that_ends_is_waited_for_before_its_name_is_taken_again(stage, monkeypatch):
    release = stage.live(RAY, "1")
    cluster = stage.world.cluster
    monkeypatch.setattr(cluster, "diff", lambda objects, take_back=False: [])  # its end is no field of ours
    cluster.get("RayService", release.object_name)["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not stage.candidates.is_warm(release)
    cluster.log.clear()

    stage.candidates.restart(RAY, release)

    assert cluster.log[0] == f"delete RayService {release.object_name}"
    assert stage.candidates.is_warm(release)


def test_without_kuberay_nothing_of_the_release_is_applied(stage):
    stage.world.cluster.unknown_kinds = {"RayService"}

    with pytest.raises(UnknownKind, match="no KubeRay") as error:
        stage.candidates.start_engine(RAY, Release.of(RAY, "1" * 40), lambda _: None)

    assert "Install KubeRay" in str(error.value)
    assert stage.world.cluster.list("Service") == []
    with pytest.raises(UnknownKind, match="no KubeRay"):
        stage.candidates.refuse_unknown(RAY, Release.of(RAY, "1" * 40))
    stage.candidates.refuse_unknown(VLLM, Release.of(VLLM, "1" * 40))


def changed(stage, release):
    """Another hand, or an older version of the code, wrote the service that serves."""
    service = stage.world.cluster.get("RayService", release.object_name)
    service["spec"]["rayClusterConfig"]["rayVersion"] = "2.59.0"
    return service


def test_a_service_that_serves_is_never_edited_by_a_second_start(stage):
    release = stage.live(RAY, "1")
    service = changed(stage, release)

    stage.candidates.start_engine(RAY, release, lambda _: None)

    assert stage.world.cluster.get("RayService", release.object_name) is service


def test_a_new_release_is_tried_by_its_apply_alone(stage, monkeypatch):
    tried = []
    monkeypatch.setattr(stage.world.cluster, "diff", lambda objects, take_back=False: tried.append(objects))

    stage.live(RAY, "1")

    assert tried == []


def test_a_candidate_that_does_not_differ_is_waited_for_as_it_is(stage):
    release = stage.release(RAY, "1")
    service = stage.world.cluster.get("RayService", release.object_name)
    service["status"] = {}

    stage.candidates.start_engine(RAY, release, lambda _: None)

    assert stage.world.cluster.get("RayService", release.object_name) is service


def test_a_candidate_that_differs_and_does_not_serve_is_made_again(stage):
    release = stage.release(RAY, "1")
    changed(stage, release)["status"] = {}

    stage.candidates.start_engine(RAY, release, lambda _: None)

    service = stage.world.cluster.get("RayService", release.object_name)
    assert service["spec"]["rayClusterConfig"]["rayVersion"] == "2.60.0"


def test_upkeep_says_that_it_edits_no_service_that_serves_and_mends_the_rest(stage):
    release = stage.live(RAY, "1")
    cluster, notices = stage.world.cluster, Notices(stage.world.store)
    redeploy = Redeploy(cluster, stage.records, stage.traffic, notices, PROFILE, lambda: "2026-01-01T00:00:00.000Z")
    service = changed(stage, release)
    cluster.get("Service", release.object_name)["spec"]["ports"][0]["targetPort"] = 1
    said = []

    redeploy.carry_out(RAY, "a test", "cause", said.append)

    assert cluster.get("RayService", release.object_name) is service
    assert cluster.get("Service", release.object_name)["spec"]["ports"][0]["targetPort"] != 1
    assert "The next release renews it" in said[-1]
    assert [n.kind for n in notices.waiting()] == [NoticeKind.DRIFT]
    record = stage.records.require("tiny", release.id)
    assert due(with_self_heal(RAY), record, redeploy.deployed(RAY, record)) is None


def with_self_heal(spec):
    return spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"self_heal": True})})


def test_upkeep_makes_a_missing_service_again(stage):
    release = stage.live(RAY, "1")
    cluster = stage.world.cluster
    redeploy = Redeploy(cluster, stage.records, stage.traffic, Notices(stage.world.store), PROFILE)
    cluster.delete("RayService", release.object_name)

    redeploy.carry_out(RAY, "a test", "cause", lambda _: None)

    assert not drift_of(cluster, render_live(RAY, release, PROFILE))
    assert stage.candidates.is_warm(release)


def test_a_release_with_mounted_weights_gets_the_traffic():
    stage = Stage(replace(PROFILE, name="kubernetes", weights_mount=True))

    assert stage.traffic.is_on(stage.live(MOUNTED, "1"))


def test_the_volume_of_mounted_weights_goes_with_its_release(stage):
    release = Release.of(MOUNTED, "1" * 40)
    volume = release.volume_name(PROFILE.namespace)
    objects = stage.world.cluster.objects
    for kind, name in (("PersistentVolumeClaim", release.object_name), ("PersistentVolume", volume)):
        objects[kind, name] = {"kind": kind, "metadata": {"name": name}}

    stage.candidates.remove(replace(release, mounts_weights=False))
    assert len(objects) == 2
    stage.candidates.remove(release)
    assert objects == {}


def test_the_head_needs_room_beside_the_workers(stage):
    gateways = stage.world.gateways()
    needed = {}
    for spec in (VLLM, RAY):
        found = survey(gateways, PROFILE, spec, Release.of(spec, "1" * 40), None)
        needed[spec.serving.engine] = {room.resource: room.needed for room in rooms_for(spec, found)}

    assert all(needed["ray"][resource] > needed["vllm"][resource] for resource in needed["vllm"])
