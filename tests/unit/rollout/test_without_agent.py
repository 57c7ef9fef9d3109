"""The life of releases without an agent, and of models that gain or lose theirs, over the in-memory world."""

from collections import Counter
from dataclasses import replace

import pytest

from genai_pipeline.core.errors import NotFound, ReleaseRefused
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.faults import ARMED_BY, Crash
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.purpose import checks_of
from genai_pipeline.core.record import Phase
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Asked, passed
from genai_pipeline.k8s.render import render_live, render_stable
from genai_pipeline.rollout.capacity.capacity_plan import rooms_for
from genai_pipeline.rollout.capacity.downtime import expected_downtime
from genai_pipeline.rollout.capacity.survey import survey
from genai_pipeline.rollout.control.trigger import trigger_of
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.record_cache import RecordCache
from genai_pipeline.rollout.switch.rollback import RollBack
from genai_pipeline.rollout.upkeep.drift_detection import drift_of
from genai_pipeline.rollout.upkeep.redeployment import Redeploy
from genai_pipeline.rollout.watch.live_watch import LiveWatch
from genai_pipeline.rollout.watch.reading import Reader
from genai_pipeline.rollout.watch.watcher import Watcher
from tests.fakes.model_texts import TOOLS
from tests.fakes.world import PROFILE
from tests.unit.rollout.test_cutover import Bench

HEAD = "name: tiny\nsource: {hub: a/b}\nrollout: {watch_minutes: 2}\n"
WITH, WITHOUT = parse_model(HEAD + TOOLS, "f"), parse_model(HEAD + "agent: none\n", "f")
BOTH_WAYS = pytest.mark.parametrize(("before", "after"), [(WITH, WITHOUT), (WITHOUT, WITH), (WITHOUT, WITHOUT)])


class Stage(Bench):
    """A bench on which releases of any kind are proven, go live and back."""

    def __init__(self, profile=PROFILE) -> None:
        super().__init__(profile)
        self.back = RollBack(self.world.gateways(), self.records, self.candidates, self.traffic)

    def release(self, spec, letter):
        """Start a release with every verdict that it needs."""
        release = Release.of(spec, letter * 40)
        self.records.open(spec, release, "opened")
        for asset, checks in checks_of(spec).items():
            found = [passed(check, "fine") for check in checks]
            self.records.update("tiny", release.id, lambda r, a=asset, f=found: r.with_verdicts(a, f, 1))
        self.candidates.start_engine(spec, release, lambda _: None)
        if release.has_agent:
            self.candidates.start_agent(spec, release, lambda _: None)
        return release

    def live(self, spec, letter):
        release = self.release(spec, letter)
        assert all(verdict.passed for verdict in self.go(release, spec=spec))
        return release

    @property
    def deployments(self):
        return {name for kind, name in self.world.cluster.objects if kind == "Deployment"}


@pytest.fixture
def stage():
    return Stage()


def test_a_first_release_without_an_agent_goes_live_with_its_engine_alone(stage):
    release = stage.live(WITHOUT, "1")

    assert (stage.traffic.on("tiny"), stage.traffic.url("tiny", "agent")) == (release.id, None)
    assert stage.traffic.is_on(release)
    assert stage.candidates.is_warm(release)
    assert stage.deployments == {release.object_name}
    assert stage.records.require("tiny", release.id).phase is Phase.LIVE


def test_a_spec_that_was_changed_by_hand_does_not_let_an_unproven_release_go_live(stage):
    release, plain = stage.release(WITH, "1"), Release.of(WITHOUT, "1" * 40)

    def forge(record):
        verdicts = {name: v for name, v in record.verdicts.items() if not name.startswith("agent_report.")}
        return replace(record, spec=WITHOUT.model_dump(mode="json"), verdicts=verdicts)

    stage.records.update("tiny", release.id, forge)

    for each in (release, replace(release, has_agent=False)):
        with pytest.raises(ReleaseRefused, match="task_success: never measured"):
            stage.go(each)
    with pytest.raises(NotFound):
        stage.go(plain)
    assert stage.traffic.on("tiny") is None


@BOTH_WAYS
def test_the_agents_address_follows_the_traffic_to_a_release_and_back(stage, before, after):
    first, second = stage.live(before, "1"), stage.live(after, "2")

    assert stage.traffic.is_on(second)
    assert (stage.traffic.url("tiny", "agent") is not None) == second.has_agent

    stage.back.begin("tiny", "it misbehaves", "a test")
    stage.back.finish("tiny", lambda _: None)

    assert stage.traffic.is_on(first)
    assert stage.traffic.on("tiny", "agent") == (first.id if first.has_agent else None)
    assert stage.records.live("tiny").release == first.id
    assert stage.deployments == set(first.object_names)
    assert not stage.back.unfinished("tiny")


@BOTH_WAYS
@pytest.mark.parametrize("point", ["traffic.moved", "rollback.selector_moved", "rollback.pointer_written"])
def test_a_rollback_that_is_killed_ends_the_same(stage, monkeypatch, before, after, point):
    first, _ = stage.live(before, "1"), stage.live(after, "2")
    monkeypatch.setenv(ARMED_BY, f"{point}:exception")
    monkeypatch.setattr("genai_pipeline.core.faults._passed", Counter())
    with pytest.raises(Crash):
        stage.back.begin("tiny", "it misbehaves", "a test")
    monkeypatch.delenv(ARMED_BY)

    stage.back.finish("tiny", lambda _: None)

    assert stage.traffic.is_on(first)
    assert stage.deployments == set(first.object_names)
    assert not stage.back.unfinished("tiny")


@BOTH_WAYS
def test_a_release_that_dies_while_the_traffic_moves_gives_all_of_it_back(stage, monkeypatch, before, after):
    first, second = stage.live(before, "1"), stage.release(after, "2")
    monkeypatch.setenv(ARMED_BY, "traffic.moved:exception")
    monkeypatch.setattr("genai_pipeline.core.faults._passed", Counter())
    with pytest.raises(Crash):
        stage.go(second, spec=after)
    monkeypatch.delenv(ARMED_BY)

    stage.ending.reject(second, "a test")

    assert stage.traffic.is_on(first)
    assert stage.deployments == set(first.object_names)


def test_a_cold_release_without_an_agent_is_stopped_and_started_again(stage):
    first, second = stage.live(WITHOUT, "1"), stage.live(WITHOUT, "2")
    stage.candidates.stop(first)
    assert not stage.candidates.is_warm(first)

    assert not stage.back.begin("tiny", "it misbehaves", "a test").moved
    stage.back.finish("tiny", lambda _: None)

    assert stage.traffic.is_on(first)
    assert stage.candidates.is_warm(first)
    assert second.object_name not in stage.deployments


def test_a_release_without_an_agent_is_revived_from_nothing(stage):
    release = stage.live(WITHOUT, "1")
    stage.candidates.remove(release)
    assert stage.deployments == set()

    stage.candidates.revive(WITHOUT, release, lambda _: None)

    assert stage.deployments == {release.object_name}


def test_a_release_that_needs_no_agent_asks_for_no_room_for_one(stage):
    gateways = stage.world.gateways()
    needed = {}
    for spec in (WITH, WITHOUT):
        found = survey(gateways, PROFILE, spec, Release.of(spec, "1" * 40), None)
        needed[spec.has_agent] = {room.resource: room.needed for room in rooms_for(spec, found)}

    assert not found.others
    assert all(needed[False][resource] < needed[True][resource] for resource in needed[True])


def test_a_redeploy_and_the_drift_are_about_what_is_there(stage):
    release = stage.live(WITHOUT, "1")
    cluster = stage.world.cluster
    redeploy = Redeploy(cluster, stage.records, stage.traffic, Notices(stage.world.store), PROFILE)
    record = stage.records.require("tiny", release.id)
    assert redeploy.deployed(WITH, record).agent is None
    assert not drift_of(cluster, render_live(WITHOUT, release, PROFILE))

    redeploy.carry_out(WITH, "a test", "cause", lambda _: None)

    assert stage.deployments == {release.object_name}
    assert stage.traffic.is_on(release)


def test_the_time_without_service_is_known_from_releases_without_an_agent(stage):
    release = stage.live(WITHOUT, "1")
    stage.records.update(
        "tiny", release.id, lambda r: r.with_verdicts("live", [passed("serves_this_release", "")], 58, Facts())
    )

    downtime = expected_downtime(WITHOUT, [stage.records.require("tiny", release.id)])

    assert downtime.minutes == 1.0
    assert release.id in downtime.source


def test_what_started_a_release_names_the_agent_and_the_task(stage):
    live = stage.records.require("tiny", stage.live(WITHOUT, "1").id)
    embed = parse_model(HEAD + "task: embed\n", "f")

    assert "agent: none -> yes" in trigger_of(WITH, Release.of(WITH, "1" * 40), live)
    assert "task: chat -> embed" in trigger_of(embed, Release.of(embed, "1" * 40), live)


def watch_of(stage, asked):
    """The watch over a stage; its agent would always be wrong."""
    gateways = stage.world.gateways()

    def now():
        return "2026-01-01T00:00:01.000Z"

    def ask(spec, record, number, url):
        asked.append(url)
        return Asked("a-case", False, "wrong")

    reader = Reader(gateways, stage.candidates, stage.traffic, lambda: 1e9, lambda: 0.0)
    notices = Notices(stage.world.store)
    watcher = Watcher(reader, stage.records, stage.candidates, stage.back, notices, ask, now)
    cache = RecordCache(stage.world.store)
    return LiveWatch(cache, stage.records, stage.back, watcher, stage.traffic, budget_s=5, now=now)


@pytest.mark.parametrize("today", [WITH, WITHOUT])
def test_a_live_release_without_an_agent_is_watched_and_no_agent_is_asked(stage, monkeypatch, today):
    release, asked = stage.live(WITHOUT, "1"), []
    monkeypatch.setattr(stage.back, "unfinished", lambda model: pytest.fail("the traffic is where it should be"))

    tick = watch_of(stage, asked).tick([today], (), "")

    assert [seen.release for seen in tick.observed] == [release.id]
    assert (asked, tick.finishes) == ([], [])


def test_an_address_of_an_agent_that_is_left_is_found_by_the_watch_and_closed(stage):
    release = stage.live(WITHOUT, "1")
    stage.world.cluster.apply(render_stable(Release.of(WITH, "2" * 40), PROFILE, "agent"))

    asked = []
    assert watch_of(stage, asked).tick([WITHOUT], ("tiny",), "").observed
    assert asked == []
    (finish,) = watch_of(stage, asked).tick([WITHOUT], (), "").finishes
    stage.back.finish("tiny", lambda _: None)

    assert finish.release == release.id
    assert stage.traffic.url("tiny", "agent") is None
