"""A last good release that sleeps: in both strategies, killed anywhere, with engines that do not wake as they were."""

from collections import Counter

import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.faults import ARMED_BY, Crash
from genai_pipeline.core.record import Phase
from genai_pipeline.core.release import Release
from genai_pipeline.rollout.switch.engine_access import ensure_token
from genai_pipeline.rollout.switch.rollback import RollBack
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE
from tests.unit.rollout import test_cutover

TEXT = "name: tiny\nsource: {hub: a/b}\nrollout: {watch_minutes: 2}\nserving: {standby: sleep, gpu: {}}\n"
SPEC = model_with_tools(TEXT, "tiny.yaml")
V1, V2, V3 = (Release.of(SPEC, digit * 40) for digit in "123")


class Bench(test_cutover.Bench):
    """V1 is live and V2 its candidate; both may sleep."""

    def __init__(self, monkeypatch, strategy="blue_green"):
        monkeypatch.setattr(test_cutover, "SPEC", SPEC)
        super().__init__()
        self.said = []
        ensure_token(self.world.cluster, PROFILE)
        self.back = RollBack(self.world.gateways(), self.records, self.candidates, self.traffic)
        self.candidate(V1)
        self.go_live(V1)
        self.records.open(SPEC, V2, "opened")
        facts = Facts(strategy=strategy, live_may_sleep=strategy == "recreate")
        self.records.update("tiny", V2.id, lambda r: r.with_facts(facts))
        if strategy == "recreate":
            self.cut_over.make_room_for(SPEC, V2, self.said.append)
        self.candidate(V2)

    def go_live(self, release):
        return self.cut_over.go_live(SPEC, release, self.world.watch_traffic, self.said.append)

    def roll_back(self):
        begun = self.back.begin("tiny", "it misbehaves", "watch")
        self.back.finish("tiny", self.said.append)
        return begun

    @property
    def calls(self):
        return [call for call in self.world.sleepers.calls if call[0] != "is_sleeping"]

    def history(self, release):
        return [event.what for event in self.records.require("tiny", release.id).history]

    def weights_are_away(self, release):
        return release.id in self.world.sleepers.weights_away


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


@pytest.fixture
def in_place(monkeypatch):
    """V1 made room for its candidate V2 on the same GPU."""
    return Bench(monkeypatch, "recreate")


def test_the_replaced_release_sleeps_while_the_next_one_is_watched(bench):
    bench.go_live(V2)

    assert bench.weights_are_away(V1)
    assert not bench.running(V1)
    assert bench.records.live("tiny").watched_until
    assert bench.records.require("tiny", V1.id).facts.asleep.answer == V1.id
    assert bench.world.cluster.get("Deployment", V1.object_name)["spec"]["replicas"] == 1


def test_a_rollback_wakes_it_before_the_selectors_move(bench):
    bench.go_live(V2)
    selected = []
    opened = bench.world.cluster.turn_away
    bench.world.cluster.turn_away = lambda name, users: (selected.append(bench.traffic.on("tiny")), opened(name, users))

    begun = bench.back.begin("tiny", "it misbehaves", "watch")

    assert begun.moved
    assert selected == [V2.id]
    assert bench.traffic.is_on(V1)
    assert bench.candidates.is_warm(V1)
    assert not bench.weights_are_away(V1)
    assert ("scale", V1.object_name) not in [tuple(line.split()[:2]) for line in bench.world.cluster.log]


@pytest.mark.parametrize("how", ["another answer", "no known answer", "it does not wake"])
def test_what_does_not_wake_as_it_was_starts_from_zero_and_never_meets_a_user(bench, how):
    bench.go_live(V2)
    if how == "another answer":
        bench.world.sleepers.wrong.add(V1.id)
    elif how == "no known answer":
        bench.records.update("tiny", V1.id, lambda r: r.with_facts(Facts(asleep=None)))
    else:
        bench.world.sleepers.faults["wake_up"] = "refused"

    begun = bench.roll_back()

    assert not begun.moved
    assert ("open", V1.id) not in bench.calls
    scaled = [line for line in bench.world.cluster.log if line.startswith(f"scale {V1.object_name}")]
    assert [line[-1] for line in dict.fromkeys(scaled)] == ["0", "1"]
    assert any(what.startswith("standby: ") for what in bench.history(V1))
    assert bench.traffic.is_on(V1)
    assert bench.candidates.is_warm(V1)


def test_an_engine_that_does_not_fall_asleep_is_stopped_and_the_promotion_goes_on(bench):
    bench.world.sleepers.faults["sleep"] = "refused"

    verdicts = bench.go_live(V2)

    assert all(verdict.passed for verdict in verdicts)
    assert bench.world.cluster.get("Deployment", V1.object_name)["spec"]["replicas"] == 0
    assert any("did not fall asleep" in what for what in bench.history(V1))


@pytest.mark.parametrize("why", ["no token", "two answers", "an answer is lost"])
def test_an_engine_that_cannot_be_put_to_sleep_stays_warm(bench, why):
    if why == "no token":
        bench.world.cluster.delete("Secret", "genai-engine-access")
    elif why == "two answers":
        bench.world.sleepers.undecided.add(V1.id)
    else:
        bench.world.sleepers.faults["known_answer"] = "refused"

    bench.go_live(V2)

    assert bench.candidates.is_warm(V1)
    assert not bench.weights_are_away(V1)
    assert any(V1.id in line and "sleep" in line for line in bench.said)


def test_requests_that_outlive_the_drain_are_not_cut_off_by_sleep(bench, monkeypatch):
    monkeypatch.setattr(bench.candidates, "drain", lambda *_: test_cutover.Drained("1 runs", ("a request",)))

    bench.go_live(V2)

    assert bench.candidates.is_warm(V1)


def test_the_live_release_sleeps_on_its_gpu_while_the_candidate_is_tested(in_place):
    assert in_place.weights_are_away(V1)
    assert in_place.traffic.is_on(V1)
    with pytest.raises(EngineUnavailable):
        in_place.world.inference(in_place.traffic.url("tiny")).models()


def test_a_candidate_that_fails_wakes_the_live_release(in_place):
    in_place.ending.reject(V2, "it fails")

    assert in_place.traffic.is_on(V1)
    assert in_place.candidates.is_warm(V1)
    assert not in_place.weights_are_away(V1)
    assert in_place.world.cluster.get("Deployment", V2.object_name) is None
    assert not [line for line in in_place.world.cluster.log if line.startswith(f"scale {V1.object_name}")]


def test_a_live_release_that_wakes_with_other_words_is_started_from_zero(in_place):
    in_place.world.sleepers.wrong.add(V1.id)

    in_place.ending.reject(V2, "it fails")

    assert in_place.candidates.is_warm(V1)
    assert ("open", V1.id) not in in_place.calls
    assert f"scale {V1.object_name} 1" in in_place.world.cluster.log


def test_a_release_that_sleeps_in_place_makes_the_next_one_watched(in_place):
    in_place.go_live(V2)

    assert in_place.records.live("tiny").watched_until
    assert in_place.weights_are_away(V1)


def test_a_rollback_on_one_gpu_stops_the_bad_release_before_it_wakes_the_last_good_one(in_place):
    in_place.go_live(V2)
    replicas_of_bad = []
    opened = in_place.world.cluster.turn_away

    def turn_away(name, users):
        replicas_of_bad.append(in_place.world.cluster.get("Deployment", V2.object_name)["spec"]["replicas"])
        opened(name, users)

    in_place.world.cluster.turn_away = turn_away
    begun = in_place.roll_back()

    assert not begun.moved
    assert replicas_of_bad == [0]
    assert in_place.traffic.is_on(V1)
    assert in_place.candidates.is_warm(V1)
    assert in_place.records.require("tiny", V2.id).phase is Phase.ROLLED_BACK


def test_a_sleeper_whose_pod_still_looks_ready_gets_no_traffic(in_place):
    in_place.go_live(V2)
    in_place.world.cluster.get("Deployment", V1.object_name)["status"]["availableReplicas"] = 1

    begun = in_place.back.begin("tiny", "it misbehaves", "watch")

    assert not begun.moved
    assert in_place.traffic.is_on(V2)


def test_without_room_for_a_sleeper_the_live_release_stops(monkeypatch):
    bench = Bench(monkeypatch)
    bench.records.update("tiny", V2.id, lambda r: r.with_facts(Facts(strategy="recreate", live_may_sleep=False)))

    bench.cut_over.make_room_for(SPEC, V2, bench.said.append)

    assert not bench.weights_are_away(V1)
    assert bench.world.cluster.get("Deployment", V1.object_name)["spec"]["replicas"] == 0


def killed_at(monkeypatch, point, work):
    with monkeypatch.context() as armed:
        armed.setenv(ARMED_BY, f"{point}:exception")
        armed.setattr("genai_pipeline.core.faults._passed", Counter())
        with pytest.raises(Crash):
            work()


@pytest.mark.parametrize("point", ["standby.answer_known", "standby.asleep", "rollout.pointer_written"])
def test_a_promotion_that_is_killed_ends_asleep_when_it_is_repeated(bench, monkeypatch, point):
    killed_at(monkeypatch, point, lambda: bench.go_live(V2))

    bench.go_live(V2)

    assert bench.weights_are_away(V1)
    assert bench.traffic.is_on(V2)
    assert bench.roll_back().moved


@pytest.mark.parametrize("point", ["standby.woken", "standby.opened", "rollback.intended", "rollback.selector_moved"])
def test_a_rollback_that_is_killed_ends_awake_when_it_is_repeated(bench, monkeypatch, point):
    bench.go_live(V2)
    killed_at(monkeypatch, point, lambda: bench.roll_back())

    bench.roll_back()

    assert bench.traffic.is_on(V1)
    assert bench.candidates.is_warm(V1)
    assert bench.records.live("tiny").release == V1.id


@pytest.mark.parametrize("fault", ["sleep", "wake_up", "open", "known_answer"])
def test_a_lost_reply_never_leaves_users_with_an_engine_that_sleeps(bench, fault):
    bench.world.sleepers.faults[fault] = "reply lost"
    bench.go_live(V2)
    bench.roll_back()

    assert bench.traffic.is_on(V1)
    assert bench.candidates.is_warm(V1)
    assert bench.world.inference(bench.traffic.url("tiny")).models()


def test_a_sleeping_release_goes_with_its_service(bench):
    bench.go_live(V2)
    assert bench.world.cluster.get("Service", V1.standby_name)

    bench.candidates.remove(V1)

    assert bench.world.cluster.get("Service", V1.standby_name) is None


def test_a_release_without_a_standby_asks_no_engine_whether_it_sleeps(bench):
    plain = Release.of(test_cutover.WATCHED, "9" * 40)

    assert not bench.candidates.is_asleep(plain)
    assert not bench.candidates.let_sleep(plain, print)
    assert not plain.sleeps
