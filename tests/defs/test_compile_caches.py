"""A release keeps what its engine compiled, and the next of its kind starts from it. No release fails because of it."""

import pytest

from genai_pipeline.core.compile_cache import Reason, Restored
from genai_pipeline.core.errors import AccessDenied, EngineUnavailable, NotFound, Refused
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.verdict import inconclusive
from genai_pipeline.k8s.engine_cache import ENGINE_ACCESS
from tests.defs.beginnings import begin_with
from tests.defs.desk import MODEL
from tests.defs.test_drift_and_redeploys import upgrade
from tests.defs.upkeep_desk import publish, redeploy
from tests.fakes.compiled import MADE_WITH, ROOT, archive, member
from tests.fakes.model_texts import model_with_tools

HIT = Restored(Reason.HIT, "restored", 2048, 0.4, "d" * 64)
OTHER_VERSIONS = Restored(Reason.VERSIONS, "the archive was made with vllm '0.33.0', not '0.34.0'", 0, 0.1, "")


def facts(desk, release=None):
    return desk.record(release or desk.live).facts.compile_cache


def stored(desk):
    return sorted(key.rpartition("/")[2] for key in desk.world.store.objects if "/caches/" in key)


def config_maps(desk):
    return {o["metadata"]["name"]: o["data"] for o in desk.world.cluster.list("ConfigMap")}


def metadata_of(result, asset):
    (found,) = result.asset_materializations_for_node(f"tiny__{asset}")
    return {name: value.value for name, value in found.metadata.items()}


def same_engine_again(desk):
    """Publish another release of the same revision, whose engine compiles the same."""
    text = MODEL.replace("serving: {", "serving: {served_names: [other], ")
    desk.load(ModelFiles((model_with_tools(text, "models/tiny.yaml"),), ()))
    result = desk.roll_out()
    assert result.success
    return result


def test_the_first_start_compiles_and_after_its_load_test_the_archive_is_kept_and_pinned(desk):
    desk.world.hub.publish("v1")

    result = desk.roll_out()

    pin = facts(desk)
    assert (pin.hit, pin.reason, pin.made_with) == (False, "none", MADE_WITH)
    assert stored(desk) == [f"{pin.sha256}.tar", "manifest.json"]
    assert config_maps(desk)[f"tiny-{desk.live}-cache"]["sha256"] == pin.sha256
    assert metadata_of(result, "candidate")["compile_cache"].startswith("miss")
    assert metadata_of(result, "serving_report")["compile_cache_kept"] == pin.kept
    assert len(desk.world.compiled.pulled) == 1


def test_the_next_engine_of_the_same_kind_is_told_of_it_before_it_starts(desk):
    begin_with(desk, "v1")
    first, kept = desk.live, facts(desk)
    desk.world.compiled.restored = HIT
    desk.world.compiled.pulled.clear()

    result = same_engine_again(desk)

    assert desk.live != first
    assert (facts(desk).hit, facts(desk).reason, facts(desk).seconds) == (True, "hit", 0.4)
    assert (facts(desk).key, facts(desk).sha256) == (kept.key, kept.sha256)
    applied = list(desk.world.cluster.objects)
    name = f"tiny-{desk.live}"
    assert applied.index(("ConfigMap", f"{name}-cache")) < applied.index(("Deployment", name))
    assert metadata_of(result, "candidate")["compile_cache"].startswith("hit")
    assert desk.world.compiled.pulled == []


def test_another_revision_has_an_archive_of_its_own(desk):
    begin_with(desk, "v1")
    first = facts(desk)
    publish(desk, "v2")
    assert facts(desk).key != first.key
    assert facts(desk).reason == "none"


def test_an_archive_of_other_versions_is_replaced(desk):
    begin_with(desk, "v1")
    before = facts(desk).sha256
    desk.world.compiled.restored = OTHER_VERSIONS
    desk.world.compiled.packed = archive(files={f"{ROOT}/b": b"compiled by 0.34"})

    same_engine_again(desk)

    pin = facts(desk)
    assert (pin.reason, pin.sha256 != before) == ("versions", True)
    assert stored(desk) == [f"{pin.sha256}.tar", "manifest.json"]
    assert config_maps(desk)[f"tiny-{desk.live}-cache"]["sha256"] == pin.sha256


def test_an_archive_that_a_pod_could_not_read_for_once_stays_for_those_that_pinned_it(desk):
    begin_with(desk, "v1")
    before = facts(desk).sha256
    desk.world.compiled.restored = Restored(Reason.FAILED, "EndpointConnectionError: no route", 0, 9.0, "")
    desk.world.compiled.pulled.clear()

    same_engine_again(desk)

    assert (facts(desk).reason, facts(desk).sha256) == ("failed", before)
    assert desk.world.compiled.pulled == []


@pytest.mark.parametrize(
    "world",
    [
        {"fault": NotFound("it does not exist")},
        {"fault": EngineUnavailable("it packs for another request")},
        {"fault": OSError("no space left on device")},
        {"packed": None},
        {"packed": b"no tar"},
        {"packed": archive(member("cache/vllm/assets/config.json"))},
        {"restored": None, "packed": None},
    ],
    ids=["404", "409", "disk", "nothing", "no tar", "foreign", "old engine"],
)
def test_a_release_goes_live_when_nothing_can_be_kept(desk, world):
    vars(desk.world.compiled).update(world)
    desk.world.hub.publish("v1")

    result = desk.roll_out()

    assert result.success
    assert desk.live
    assert stored(desk) == []
    assert config_maps(desk) == {}
    assert metadata_of(result, "serving_report")["compile_cache_kept"]
    assert (facts(desk).sha256, facts(desk).kept) == ("", metadata_of(result, "serving_report")["compile_cache_kept"])


def test_a_release_goes_live_where_the_store_refuses_caches(desk):
    def refuse(method, key):
        if "/caches/" in key:
            raise AccessDenied(f"{method} {key} is denied.", "Allow it.")

    desk.world.store.fail = refuse
    desk.world.hub.publish("v1")
    assert desk.roll_out().success
    assert desk.live
    assert "denied" in facts(desk).kept


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_a_release_goes_live_where_the_pipeline_may_not_write_what_pods_need(desk, monkeypatch, kind):
    apply = desk.world.cluster.apply

    def refuse(objects, take_back=False):
        if any(o["kind"] == kind for o in objects):
            raise Refused(f"{kind} is forbidden.", "Ask an administrator.")
        return apply(objects, take_back)

    monkeypatch.setattr(desk.world.cluster, "apply", refuse)
    desk.world.hub.publish("v1")
    assert desk.roll_out().success
    assert desk.live


def test_nothing_is_kept_of_an_engine_whose_load_was_not_measured(desk):
    desk.verdicts["serving_report"] = [inconclusive(v.check, "no metrics") for v in desk.verdicts["serving_report"]]
    desk.world.hub.publish("v1")
    assert not desk.roll_out().success
    assert stored(desk) == []


def test_an_engine_that_compiles_nothing_has_no_archive(desk):
    text = MODEL.replace("args: {", "args: {enforce-eager: true, ")
    desk.load(ModelFiles((model_with_tools(text, "models/tiny.yaml"),), ()))
    desk.world.hub.publish("v1")
    assert desk.roll_out().success
    assert facts(desk).reason == "off"
    assert (stored(desk), desk.world.compiled.pulled) == ([], [])


@pytest.mark.parametrize("point", ["cache.pinned", "cache.pinned_again"])
def test_a_run_that_ends_where_it_pins_is_repeated_with_the_same_end(desk, monkeypatch, point):
    if point == "cache.pinned":
        begin_with(desk, "v1")
        desk.world.compiled.restored = HIT
        text = MODEL.replace("serving: {", "serving: {served_names: [other], ")
        desk.load(ModelFiles((model_with_tools(text, "models/tiny.yaml"),), ()))
    else:
        desk.world.hub.publish("v1")
    (request,), _ = desk.tick()
    monkeypatch.setenv("GENAI_CRASH_AT", f"{point}:exception")
    assert not desk.run(request).success
    monkeypatch.delenv("GENAI_CRASH_AT")

    assert desk.run(request).success

    release = request.partition_key
    pin = facts(desk, release)
    assert stored(desk) == [f"{pin.sha256}.tar", "manifest.json"]
    assert config_maps(desk)[f"tiny-{release}-cache"]["sha256"] == pin.sha256


def test_the_config_map_goes_with_the_release(desk):
    begin_with(desk, "v1")
    first = desk.live
    publish(desk, "v2", "v3")
    assert f"tiny-{first}-cache" not in config_maps(desk)
    assert f"tiny-{desk.live}-cache" in config_maps(desk)


def test_a_redeploy_pins_what_the_record_says_and_not_what_the_store_has_by_now(desk, monkeypatch):
    begin_with(desk, "v1")
    kept, name = facts(desk), f"tiny-{desk.live}-cache"
    del desk.world.cluster.objects["ConfigMap", name]
    for key in [key for key in desk.world.store.objects if "/caches/" in key]:
        desk.world.store.delete(key)
    upgrade(desk, monkeypatch)

    assert redeploy(desk).success

    assert config_maps(desk)[name]["sha256"] == kept.sha256


def test_another_archive_makes_no_redeploy(desk):
    begin_with(desk, "v1")
    before = desk.engines.redeploy().deployed(desk.spec, desk.record(desk.live))
    desk.world.compiled.restored = OTHER_VERSIONS
    assert desk.record(desk.live).facts.deployed == before


def test_pods_get_one_token_that_stays_and_is_in_no_event(desk):
    begin_with(desk, "v1")
    secret = desk.world.cluster.get("Secret", ENGINE_ACCESS)["data"]
    publish(desk, "v2")
    assert desk.world.cluster.get("Secret", ENGINE_ACCESS)["data"] == secret
    (token,) = set(desk.world.compiled.pulled)
    written = str([desk.world.store.objects, [e.to_json() if hasattr(e, "to_json") else str(e) for e in _events(desk)]])
    assert token not in written


def _events(desk):
    return [
        record.event_log_entry
        for run in desk.instance.get_runs()
        for record in desk.instance.get_records_for_run(run.run_id).records
    ]
