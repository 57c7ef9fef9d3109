from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from genai_pipeline.core.errors import HubUnavailable, NotReady
from genai_pipeline.core.faults import ARMED_BY, Crash
from genai_pipeline.core.record import Phase, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.control.controller import ActiveRun, Controller
from genai_pipeline.rollout.record.record_cache import RecordCache
from genai_pipeline.rollout.record.records import Records
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE, World

MONDAY = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def spec(name, rollout="max_attempts: 3"):
    return model_with_tools(f"name: {name}\nsource: {{hub: owner/{name}}}\nrollout: {{{rollout}}}\n", name)


class ClockedEngines(Engines):
    """The engines with the bench's clock."""

    def records(self):
        return Records(self.gateways.store, now=lambda: self.bench.now.isoformat())


class Bench:
    """A controller over an in-memory world; `answers` are what the sources say."""

    def __init__(self, most=2):
        self.world = World()
        self.engines = ClockedEngines(PROFILE, self.world.gateways())
        object.__setattr__(self.engines, "bench", self)
        self.answers = {}
        self.now = datetime.now(UTC)
        self.most = most

    def controller(self):
        p = self.engines
        ledger = RecordCache(self.world.store)
        return Controller(p.records(), ledger, p.ending(), p.approvals(), self.revisions, self.most)

    def revisions(self, specs):
        return {s.name: self.answers.get(s.name, "1" * 40) for s in specs}

    def tick(self, *specs, under_way=(), controller=None):
        return (controller or self.controller()).tick(specs, under_way, self.now)

    def record(self, of, revision="1" * 40):
        return self.engines.records().get(of.name, Release.of(of, revision).id)


@pytest.fixture
def bench():
    return Bench()


def test_an_attempt_is_written_before_its_run_is_handed_out(bench):
    (start,) = bench.tick(spec("a")).starts

    record = bench.record(spec("a"))
    assert (start.run_key, record.attempt) == (f"a:{start.release}:1", 1)
    assert record.trigger.startswith("first release")


@pytest.mark.parametrize("point", ["opened", "before_attempt", "attempt_written"])
def test_a_tick_that_dies_anywhere_never_makes_a_second_run_of_an_attempt(bench, monkeypatch, point):
    monkeypatch.setenv(ARMED_BY, f"controller.{point}:exception")
    with pytest.raises(Crash):
        bench.tick(spec("a"))
    monkeypatch.delenv(ARMED_BY)
    bench.now += timedelta(minutes=1)

    (start,) = bench.tick(spec("a")).starts

    assert start.attempt == (2 if point == "attempt_written" else 1)


def test_of_two_ticks_that_saw_the_same_one_starts(bench):
    """What the other wrote between the listing and the step makes this one stand back."""
    one, other = bench.controller(), bench.controller()
    seen = other._cache.read(["a"])
    bench.tick(spec("a"), controller=one)
    other._cache.read = lambda models: seen

    tick = bench.tick(spec("a"), controller=other)

    assert tick.starts == []
    assert "changed during this tick" in tick.notes[0]
    assert bench.record(spec("a")).attempt == 1


def test_an_error_about_one_model_holds_no_other_back(bench):
    bench.answers["down"] = HubUnavailable("The hub did not answer.")
    bench.world.store.put(record_key("bad", Release.of(spec("bad"), "1" * 40).id), b"{")

    tick = bench.tick(spec("down"), spec("bad"), spec("a"))

    assert [start.spec.name for start in tick.starts] == ["a"]
    assert tick.notes[0] == "down: The hub did not answer."
    assert "cannot be read" in tick.notes[1]


def test_a_store_that_does_not_answer_is_said_for_every_model(bench):
    bench.world.store.go_down()

    tick = bench.tick(spec("a"), spec("b"))

    assert tick.starts == []
    assert [note.partition(":")[0] for note in tick.notes] == ["a", "b"]


def test_no_more_rollouts_than_allowed_and_what_is_under_way_counts(bench):
    specs = [spec(name) for name in "abcd"]

    assert [s.spec.name for s in bench.tick(*specs).starts] == ["a", "b"]
    busy = [ActiveRun("z", "a run by hand"), ActiveRun("a", "a promotion", rolls_out=False)]
    tick = bench.tick(*specs[2:], under_way=busy)
    assert [s.spec.name for s in tick.starts] == ["c"]
    assert "2 rollouts are under way, as many as GENAI_MAX_ROLLOUTS allows" in tick.notes[1]


def test_a_release_is_superseded_while_its_run_is_at_work_and_the_next_waits_for_the_run(bench):
    (first,) = bench.tick(spec("a")).starts
    bench.answers["a"] = "2" * 40

    tick = bench.tick(spec("a"), under_way=[ActiveRun("a", "its run")])

    record = bench.record(spec("a"))
    assert (record.phase, record.leftover) == (Phase.SUPERSEDED, True)
    assert tick.starts == []
    (second,) = bench.tick(spec("a")).starts
    assert second.release != first.release
    assert not bench.record(spec("a")).leftover


def test_what_does_not_go_away_in_time_is_tried_again_at_the_next_tick(bench):
    bench.tick(spec("a"))
    bench.engines.candidates().start_engine(spec("a"), Release.of(spec("a"), "1" * 40), lambda _: None)
    bench.answers["a"] = "2" * 40
    deleted = bench.world.cluster.delete

    def stuck(kind, name, deadline_s=60):
        raise NotReady(f"{name} is still there after {deadline_s} s")

    bench.world.cluster.delete = stuck
    tick = bench.tick(spec("a"), under_way=[ActiveRun("b", "")])
    assert "still there after" in tick.notes[0]
    assert bench.record(spec("a")).leftover
    bench.world.cluster.delete = deleted

    bench.tick(spec("a"))

    assert not bench.record(spec("a")).leftover
    assert not bench.world.cluster.list("Deployment")


def test_a_ref_that_flips_between_two_revisions_starts_ever_fewer_rollouts_and_promotes_nothing(bench):
    controller, starts = bench.controller(), []
    for n in range(200):
        bench.answers["a"] = ("1" if n % 2 else "2") * 40
        bench.now += timedelta(seconds=5)
        starts += bench.tick(spec("a"), controller=controller).starts

    assert {start.kind for start in starts} == {"rollout"}
    assert len(starts) < 12
    assert len({start.run_key for start in starts}) == len(starts)


def test_a_release_that_is_asked_for_again_gets_new_keys_and_a_new_reason(bench):
    (first,) = bench.tick(spec("a")).starts
    bench.engines.records().update("a", first.release, lambda r: r.in_phase(Phase.REPLACED))

    (again,) = bench.tick(spec("a")).starts

    assert again.run_key == f"a:{first.release}:2"
    assert "was live before and is asked for again" in again.reason


def test_an_approval_is_forgotten_when_the_release_is_proven_again(bench):
    (first,) = bench.tick(spec("a")).starts
    bench.engines.records().update(
        "a", first.release, lambda r: replace(r.in_phase(Phase.REPLACED), approved="ann at noon")
    )

    bench.tick(spec("a"))

    assert bench.record(spec("a")).approved == ""


def test_a_cut_over_that_no_run_lived_to_finish_is_live_all_the_same(bench):
    tiny = spec("tiny")
    bench.tick(tiny)
    record = bench.record(tiny)
    records = bench.engines.records()
    records.set_live(record.as_release)
    spent = replace(record, promotions=3)
    bench.world.store.put(record_key("tiny", record.release), spent.to_bytes())

    assert "is live" in bench.tick(tiny).notes[0]
    assert bench.record(tiny).phase is Phase.LIVE
