"""Going back, whole and killed at every point, over the in-memory world."""

from collections import Counter
from dataclasses import replace

import pytest

from genai_pipeline.core.errors import NotReady, Refused, StoreConflict
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.faults import ARMED_BY, Crash
from genai_pipeline.core.manifest import manifest_key
from genai_pipeline.core.notice import NoticeKind
from genai_pipeline.core.record import Phase
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import failed
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.switch.rollback import RollBack
from tests.unit.rollout.test_cutover import SPEC, V1, V2, WATCHED, Bench

V3 = Release.of(SPEC, "3" * 40)


@pytest.fixture
def bench():
    """V2 is live and watched, V1 is its last good one and warm."""
    bench = Bench()
    bench.back = RollBack(bench.world.gateways(), bench.records, bench.candidates, bench.traffic)
    for release in (V1, V2):
        bench.candidate(release)
        bench.go(release, spec=WATCHED)
    bench.world.cluster.log.clear()
    return bench


def begin(bench, **options):
    return bench.back.begin("tiny", "half of all requests fail", "watch", **options)


def finish(bench):
    said = []
    bench.back.finish("tiny", said.append)
    return said


def whole(bench, **options):
    begin(bench, **options)
    finish(bench)


def phase(bench, release):
    return bench.records.require("tiny", release.id).phase


def assert_all_is_back_on(bench, release, bad=V2):
    live = bench.records.live("tiny")
    assert (live.release, live.watched_until, live.rolled_back) == (release.id, None, None)
    assert bench.traffic.is_on(release)
    assert bench.candidates.is_warm(release)
    assert (phase(bench, release), phase(bench, bad)) == (Phase.LIVE, Phase.ROLLED_BACK)
    assert bench.world.cluster.get("Deployment", bad.object_name) is None
    assert bench.back.unfinished("tiny") == ""


def test_a_warm_last_good_release_has_the_traffic_as_soon_as_it_is_begun(bench):
    begun = begin(bench)

    assert (begun.bad, begun.to, begun.moved) == (V2.id, V1.id, True)
    assert bench.traffic.is_on(V1)
    assert bench.records.live("tiny").release == V1.id
    assert not [line for line in bench.world.cluster.log if line.startswith(("scale", "delete"))]


def test_the_bad_release_is_in_quarantine_with_reason_and_author(bench):
    begin(bench)

    bad = bench.records.require("tiny", V2.id)
    assert (bad.phase, bad.reason) == (Phase.ROLLED_BACK, "half of all requests fail")
    assert bad.history[-1].what == f"rolled back to {V1.id} by watch: half of all requests fail"
    (notice,) = Notices(bench.world.store).waiting()
    assert (notice.kind, notice.release) == (NoticeKind.ROLLED_BACK, V2.id)


def test_finishing_takes_the_bad_release_away(bench):
    begin(bench)
    assert bench.back.unfinished("tiny")

    finish(bench)

    assert_all_is_back_on(bench, V1)


def test_a_cold_target_is_started_before_the_traffic_moves(bench):
    bench.candidates.stop(V1)

    assert not begin(bench).moved
    assert bench.traffic.is_on(V2)
    assert "is still live" in bench.back.unfinished("tiny")
    said = finish(bench)

    assert f"starting {V1.id} from zero" in said
    assert_all_is_back_on(bench, V1)


def test_a_target_whose_objects_are_gone_is_made_again(bench):
    bench.candidates.remove(V1)
    begin(bench)

    finish(bench)

    assert_all_is_back_on(bench, V1)


def test_where_there_is_no_room_for_both_the_bad_one_stops_first(bench):
    bench.records.update("tiny", V2.id, lambda r: replace(r, facts=Facts(strategy="recreate")))
    bench.candidates.stop(V1)
    bench.world.cluster.log.clear()
    begin(bench)

    finish(bench)

    log = bench.world.cluster.log
    assert log.index(f"scale {V2.object_name} 0") < log.index(f"scale {V1.object_name} 1")
    assert_all_is_back_on(bench, V1)


POINTS = ("intended", "selector_moved", "pointer_written", "drained")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("warm", [True, False])
def test_killed_anywhere_it_is_seen_as_unfinished_and_finishes_the_same(bench, monkeypatch, point, warm):
    if not warm:
        bench.candidates.stop(V1)
    with monkeypatch.context() as armed:
        armed.setenv(ARMED_BY, f"rollback.{point}:exception")
        armed.setattr("genai_pipeline.core.faults._passed", Counter())
        with pytest.raises(Crash):
            whole(bench)
    assert bench.back.unfinished("tiny")

    finish(bench)

    assert_all_is_back_on(bench, V1)


@pytest.mark.parametrize("point", POINTS)
def test_begun_again_after_a_kill_it_goes_no_further_back(bench, monkeypatch, point):
    with monkeypatch.context() as armed:
        armed.setenv(ARMED_BY, f"rollback.{point}:exception")
        armed.setattr("genai_pipeline.core.faults._passed", Counter())
        with pytest.raises(Crash):
            whole(bench, release=V2.id)

    begin(bench, release=V2.id)
    finish(bench)

    assert_all_is_back_on(bench, V1)


def test_repeating_changes_nothing_and_announces_nothing_twice(bench):
    begin(bench, release=V2.id)
    finish(bench)
    before = dict(bench.world.store.objects)

    begin(bench, release=V2.id)
    finish(bench)

    assert bench.world.store.objects == before


def test_without_a_last_good_release_it_is_refused(bench):
    begin(bench)
    finish(bench)

    with pytest.raises(Refused, match="no last good release"):
        begin(bench)

    assert phase(bench, V1) is Phase.LIVE


def test_a_last_good_release_that_was_rejected_since_is_no_target(bench):
    bench.records.update("tiny", V1.id, lambda r: r.in_phase(Phase.REJECTED, "rolled out again, and failed"))

    with pytest.raises(Refused, match="rolled out again"):
        begin(bench)

    assert bench.traffic.is_on(V2)
    assert phase(bench, V2) is Phase.LIVE


@pytest.mark.parametrize("unproven", [{}, {"capacity.surge_fits": failed("surge_fits", "no room")}])
def test_a_target_that_is_not_proven_is_refused(bench, unproven):
    bench.candidate(V3, **unproven)
    if not unproven:
        bench.records.update("tiny", V3.id, lambda r: r.reopened())

    with pytest.raises(Refused, match="not proven"):
        begin(bench, to=V3.id)

    assert bench.traffic.is_on(V2)


def test_a_named_target_whose_weights_were_pruned_is_refused_and_the_live_one_stays_as_it_was(bench):
    bench.candidate(V3)
    bench.records.update("tiny", V3.id, lambda record: record.in_phase(Phase.REPLACED))
    bench.candidates.stop(V3)

    with pytest.raises(Refused, match="no longer staged"):
        begin(bench, to=V3.id)
    assert phase(bench, V2) is Phase.LIVE

    bench.world.store.put(manifest_key("tiny", V3.revision), b"{}")
    whole(bench, to=V3.id)
    assert_all_is_back_on(bench, V3)


def test_any_proven_release_may_be_named(bench):
    bench.candidate(V3)

    begin(bench, to=V3.id)
    finish(bench)

    assert_all_is_back_on(bench, V3)


def test_a_rollback_that_a_cut_over_overtook_follows_the_pointer(bench, monkeypatch):
    bench.candidate(V3)
    move = bench.traffic.move

    def overtaken(release):
        move(release)
        monkeypatch.undo()
        bench.go(V3)

    monkeypatch.setattr(bench.traffic, "move", overtaken)

    with pytest.raises(StoreConflict, match=f"{V3.id} is live"):
        begin(bench)

    assert bench.traffic.is_on(V3)
    assert bench.records.live("tiny").release == V3.id


def test_traffic_that_is_not_where_the_pointer_says_goes_back_there(bench):
    bench.candidate(V3)
    bench.traffic.move(V3)
    assert "not on" in bench.back.unfinished("tiny")

    finish(bench)

    assert bench.traffic.is_on(V2)
    assert phase(bench, V2) is Phase.LIVE


def test_the_bad_release_stays_until_the_good_one_has_proven_itself_at_the_stable_address(bench):
    begin(bench)
    bench.world.broken_at_stable_address.add(V1.id)
    bench.traffic.why_not_served_by = lambda release: "it answers 500"

    with pytest.raises(NotReady, match="does not answer"):
        finish(bench)

    assert bench.candidates.is_up(V2)
    assert bench.back.unfinished("tiny")
