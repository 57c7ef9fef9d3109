"""The watch as a whole over the in-memory world: it goes back, it ends, it finishes, and waits for no single model."""

import threading
from dataclasses import replace

import pytest

from genai_pipeline.core.errors import EngineBroken, EngineUnavailable, StoreUnavailable
from genai_pipeline.core.faults import ARMED_BY, Crash
from genai_pipeline.core.record import Phase
from genai_pipeline.core.verdict import Asked
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.record_cache import RecordCache
from genai_pipeline.rollout.switch.rollback import RollBack
from genai_pipeline.rollout.watch.live_watch import LiveWatch
from genai_pipeline.rollout.watch.reading import Reader
from genai_pipeline.rollout.watch.watcher import Watcher
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import FakeInference
from tests.unit.rollout.test_cutover import V1, V2, Bench

SPEC = model_with_tools(
    "name: tiny\nsource: {hub: a/b}\nrollout: {watch_minutes: 2, breach: {for: 10s}}\n", "tiny.yaml"
)

DIED = EngineBroken("POST answered 500: EngineCore died.")


class Night:
    """A bench on which V2 is live and watched, V1 warm, and time passes by `tick`s of five seconds."""

    def __init__(self, first_only=False):
        self.bench, self.seconds, self.cursor, self.asked = Bench(), 0.0, "", []
        self.spec, self.right = SPEC, True
        bench = self.bench
        gateways = bench.world.gateways()
        bench.back = RollBack(gateways, bench.records, bench.candidates, bench.traffic, self.now)
        reader = Reader(gateways, bench.candidates, bench.traffic, lambda: 1e9 + self.seconds, lambda: self.seconds)
        self.watcher = Watcher(
            reader, bench.records, bench.candidates, bench.back, Notices(bench.world.store), self.ask, self.now
        )
        ledger = RecordCache(bench.world.store)
        self.watch = LiveWatch(ledger, bench.records, bench.back, self.watcher, bench.traffic, budget_s=5, now=self.now)
        for release in (V1,) if first_only else (V1, V2):
            bench.candidate(release)
            bench.go(release, spec=SPEC)

    def now(self):
        return f"2026-01-01T{int(self.seconds // 3600):02}:{int(self.seconds // 60 % 60):02}:{self.seconds % 60:06.3f}Z"

    def ask(self, spec, record, number, url):
        self.asked.append((number, url))
        return Asked("weather-plain", self.right, "right" if self.right else "says Paris")

    def tick(self, n=1, busy=()):
        for _ in range(n):
            self.seconds += 5
            tick = self.watch.tick([self.spec], busy, self.cursor)
            self.cursor = tick.cursor
        return tick

    def until_its_watch_is_over(self):
        self.tick(24)
        assert self.live.watched_until is None

    @property
    def live(self):
        return self.bench.records.live("tiny")


@pytest.fixture
def night():
    return Night()


@pytest.fixture
def broken(monkeypatch):
    breaks(monkeypatch)


def breaks(monkeypatch, error=DIED):
    """Completions of V2 answer 500, while everything else of it is fine."""
    complete = FakeInference.chat

    def chat(self, model, *args, **kwargs):
        if V2.id in model:
            raise error
        return complete(self, model, *args, **kwargs)

    monkeypatch.setattr(FakeInference, "chat", chat)


def test_a_release_that_answers_500_behind_a_healthy_health_is_rolled_back_by_a_tick(night, broken):
    tick = night.tick(3)

    assert night.live.release == V1.id
    assert night.bench.traffic.is_on(V1)
    (finish,) = tick.finishes
    assert (finish.model, finish.release, finish.number) == ("tiny", V2.id, 1)
    bad = night.bench.records.require("tiny", V2.id)
    assert bad.phase is Phase.ROLLED_BACK
    assert "EngineCore died" in bad.reason
    assert "tiny" not in night.cursor


def test_wrong_answers_of_the_agent_are_a_breach_once_they_hold(night):
    night.right = False

    night.tick(2)
    assert night.live.release == V2.id
    night.tick(2)

    assert night.live.release == V1.id
    assert [number for number, _ in night.asked] == [0, 1, 2]


def test_a_healthy_release_is_watched_to_the_end_and_then_the_last_good_one_stops(night):
    night.tick(23)
    assert night.bench.candidates.is_warm(V1)

    night.tick()

    assert night.live.watched_until is None
    assert (night.live.release, night.live.last_good) == (V2.id, V1.id)
    assert not night.bench.candidates.is_up(V1)
    record = night.bench.records.require("tiny", V2.id)
    assert record.facts.watch.looks == 23
    assert "watched until 2026-01-01T00:02:00.000Z" in record.history[-1].what


def test_what_never_held_for_long_enough_is_reported_at_the_end(night, monkeypatch):
    for _ in range(3):
        with monkeypatch.context() as patched:
            breaks(patched)
            night.tick()
        night.tick()
    night.tick(18)

    assert (night.live.release, night.live.watched_until) == (V2.id, None)
    assert "3 found something wrong" in night.bench.records.require("tiny", V2.id).history[-1].what


def test_the_watch_ends_though_nothing_could_be_measured(night, monkeypatch):
    monkeypatch.setattr(night.bench.world.cluster, "endpoint", lambda name: f"http://nowhere-{name}")
    night.watcher._ask = None

    tick = night.tick(24)

    assert night.live.watched_until is None
    assert "nothing could be measured" in tick.notes[0]
    assert night.live.release == V2.id


def test_what_is_wrong_at_the_end_gets_the_time_to_prove_itself(night):
    night.tick(22)
    night.right = False

    night.tick(4)

    assert night.live.release == V1.id


@pytest.mark.parametrize("point", ["watch.recorded", "watch.stopped"])
def test_the_end_of_a_watch_may_be_killed_anywhere(night, monkeypatch, point):
    from collections import Counter

    night.tick(22)
    night.seconds += 20
    with monkeypatch.context() as armed:
        armed.setenv(ARMED_BY, f"{point}:exception")
        armed.setattr("genai_pipeline.core.faults._passed", Counter())
        with pytest.raises(Crash):
            night.tick()

    night.tick()

    assert night.live.watched_until is None
    assert not night.bench.candidates.is_up(V1)
    record = night.bench.records.require("tiny", V2.id)
    assert len([e for e in record.history if "watched until" in e.what]) == 1


def test_without_a_last_good_release_it_keeps_the_traffic_and_people_read_it_once():
    night = Night(first_only=True)
    night.right = False

    tick = night.tick(8)

    assert night.live.release == V1.id
    assert night.bench.records.require("tiny", V1.id).phase is Phase.LIVE
    (notice,) = Notices(night.bench.world.store).waiting()
    assert "no last good release" in notice.text
    assert len([e for e in night.bench.records.require("tiny", V1.id).history if "misbehaves" in e.what]) == 1
    assert not tick.finishes


def test_while_a_run_is_at_work_on_the_model_it_is_looked_at_and_not_touched(night, broken):
    night.tick(5, busy={"tiny"})
    assert night.live.release == V2.id

    night.tick()

    assert night.live.release == V1.id


def test_a_lost_cursor_means_measuring_again_and_nothing_worse(night, broken):
    night.tick(2)
    night.cursor = '{"tiny": {"release": 7}}'

    night.tick(2)
    assert night.live.release == V2.id
    night.tick()

    assert night.live.release == V1.id


def test_a_state_of_another_release_counts_for_nothing(night, broken):
    night.tick(2)
    night.cursor = night.cursor.replace(V2.id, V1.id)

    night.tick()

    assert night.live.release == V2.id


def test_an_unfinished_rollback_is_asked_for_again_after_a_while_and_not_on_every_tick(night, broken):
    night.tick(3)

    asked = [night.tick().finishes for _ in range(8)]

    numbers = [finish.number for finishes in asked for finish in finishes]
    assert numbers == [2, 3]


def test_a_rollback_that_was_only_begun_is_finished(night):
    night.bench.candidates.stop(V1)
    night.bench.back.begin("tiny", "by hand", "hand")

    (finish,) = night.tick().finishes

    assert (finish.release, finish.reason) == (V2.id, f"{V2.id} was rolled back and is still live")


def test_a_cut_over_that_is_half_done_is_left_to_its_run(night, broken):
    night.bench.records.update("tiny", V2.id, lambda r: replace(r, phase=Phase.ROLLING_OUT))

    assert not night.tick(5).finishes
    assert night.live.release == V2.id


def test_what_a_slow_look_found_is_not_lost(night, broken, monkeypatch):
    look, let_go = night.watcher.look, threading.Event()

    def slow(*args):
        found = look(*args)
        let_go.wait(60)
        return found

    monkeypatch.setattr(night.watcher, "look", slow)
    night.watch._budget_s = 0.05
    for _ in range(3):
        let_go.clear()
        night.tick()
        thread = next(t for t in threading.enumerate() if t.name == "watch-tiny")
        let_go.set()
        thread.join(10)
        night.tick()

    assert night.live.release == V1.id


def test_one_model_that_hangs_does_not_hold_the_others_back(night, monkeypatch):
    let_go = threading.Event()
    look = night.watcher.look
    monkeypatch.setattr(
        night.watcher, "look", lambda spec, *a: let_go.wait(60) if spec.name == "slow" else look(spec, *a)
    )
    slow = SPEC.model_copy(update={"name": "slow"})
    store = night.bench.world.store
    for key in [k for k in store.objects if k.startswith("releases/tiny/")]:
        body = (
            store.objects[key]
            .replace(b'"model": "tiny"', b'"model": "slow"')
            .replace(b'"name": "tiny"', b'"name": "slow"')
        )
        store.put(key.replace("/tiny/", "/slow/"), body)
    monkeypatch.setattr(night.bench.back, "unfinished", lambda model: "")
    night.watch._budget_s = 0.5
    night.seconds += 5

    first = night.watch.tick([slow, SPEC], (), "")
    again = night.watch.tick([slow, SPEC], (), first.cursor)
    let_go.set()

    for tick in (first, again):
        assert any(note.startswith("slow: the look takes longer") for note in tick.notes)
        assert any(note.startswith(f"tiny: {V2.id} is watched until") for note in tick.notes)
    assert len([t for t in threading.enumerate() if t.name == "watch-slow"]) <= 1


def test_a_store_that_is_down_ends_nothing_and_loses_no_look(night, monkeypatch):
    night.tick(2)
    before = night.cursor

    def down(prefix):
        raise StoreUnavailable("The store did not answer.", "Try again later.")

    with monkeypatch.context() as patch:
        patch.setattr(night.bench.world.store, "list", down)
        assert "did not answer" in night.tick().notes[0]
    assert night.cursor == before
    assert night.live.release == V2.id


# After the watch


def test_a_release_that_breaks_long_after_its_watch_goes_back_too_and_the_last_good_one_is_started_first(
    night, monkeypatch
):
    night.until_its_watch_is_over()
    breaks(monkeypatch)

    finishes = [finish for _ in range(12) for finish in night.tick().finishes]

    assert night.live.release == V2.id
    assert night.bench.records.require("tiny", V2.id).phase is Phase.ROLLED_BACK
    assert (finishes[0].model, finishes[0].release) == ("tiny", V2.id)
    assert f"{V1.id} is being started" in finishes[0].reason
    night.bench.back.finish("tiny", lambda _: None)
    assert night.live.release == V1.id
    assert night.bench.traffic.is_on(V1)


def test_a_breach_after_the_watch_must_hold_as_any_other(night, monkeypatch):
    night.until_its_watch_is_over()
    with monkeypatch.context() as shortly:
        breaks(shortly)
        seen = [night.tick() for _ in range(2)]

    assert any("EngineCore died" in note for tick in seen for note in tick.notes)
    night.tick(24)

    assert night.bench.records.require("tiny", V2.id).phase is Phase.LIVE


def test_guard_false_leaves_what_was_watched_to_people(night, monkeypatch):
    night.spec = SPEC.model_copy(update={"rollout": SPEC.rollout.model_copy(update={"guard": False})})
    night.until_its_watch_is_over()
    breaks(monkeypatch)

    night.tick(24)

    assert night.bench.records.require("tiny", V2.id).phase is Phase.LIVE


def test_pods_that_are_gone_prove_nothing_against_a_release_that_was_fine(night, monkeypatch):
    night.until_its_watch_is_over()
    breaks(monkeypatch, EngineUnavailable("POST was not answered.", "See the pods."))
    monkeypatch.setattr(night.bench.candidates, "replicas_up", lambda release: 0)

    night.tick(24)

    assert night.bench.records.require("tiny", V2.id).phase is Phase.LIVE
    assert not Notices(night.bench.world.store).waiting()


def test_a_healthy_release_is_asked_seldom_after_its_watch_and_fills_no_log_of_the_ui(night):
    night.until_its_watch_is_over()
    asked = len(night.asked)

    ticks = [night.tick() for _ in range(24)]

    looks = [note for tick in ticks for note in tick.notes if "is guarded" in note]
    assert 3 <= len(looks) <= 5
    assert not [o for tick in ticks for o in tick.observed]
    assert len(night.asked) == asked
