from contextlib import contextmanager
from dataclasses import replace

import pytest

from genai_pipeline.core.checks import REQUIRED_FOR_LIVE
from genai_pipeline.core.errors import ReleaseRefused, StoreConflict, Superseded
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.purpose import not_asked
from genai_pipeline.core.record import Phase
from genai_pipeline.core.release import Release
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Outcome, failed, inconclusive, passed
from genai_pipeline.gateways.inference.abc import Completion, Embedding
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.switch.cutover import CutOver
from genai_pipeline.rollout.switch.drain import Drained
from genai_pipeline.rollout.switch.ending import Ending
from genai_pipeline.rollout.switch.traffic import Traffic
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE, FakeInference, FakeWatch, World

GATES = "gates: {agent: {tool_calling_min: 0.9}}\n"
SPEC = model_with_tools(f"name: tiny\nsource: {{hub: a/b}}\nrollout: {{watch_minutes: 0}}\n{GATES}", "tiny.yaml")
"""One to which every check applies."""
WATCHED = model_with_tools("name: tiny\nsource: {hub: a/b}\nrollout: {watch_minutes: 2}\n", "tiny.yaml")
V1, V2 = Release.of(SPEC, "1" * 40), Release.of(SPEC, "2" * 40)


class Bench:
    """One world with the engines of rollout/ on it."""

    def __init__(self, profile=PROFILE):
        self.world = World()
        gateways = self.world.gateways()
        self.records = Records(self.world.store, now=lambda: "2026-01-01T00:00:00.000Z")
        self.candidates = Candidates(gateways, profile)
        self.traffic = Traffic(gateways, profile, sleep=lambda _: None)
        self.ending = Ending(self.records, self.candidates, self.traffic, Notices(self.world.store))
        self.cut_over = CutOver(self.records, self.candidates, self.traffic)

    def candidate(self, release, **replaced):
        self.records.open(SPEC, release, "opened")
        verdicts = {name: passed(name.split(".")[1], "fine") for name in REQUIRED_FOR_LIVE} | replaced
        for name, verdict in verdicts.items():
            asset = name.split(".")[0]
            mine = [v for n, v in verdicts.items() if n.startswith(asset + ".") and v]
            if verdict:
                self.records.update("tiny", release.id, lambda r, a=asset, m=mine: r.with_verdicts(a, m, 1))
        self.candidates.start_engine(SPEC, release, lambda _: None)
        self.candidates.start_agent(SPEC, release, lambda _: None)

    def go(self, release, watch=None, spec=SPEC):
        return self.cut_over.go_live(spec, release, watch or self.world.watch_traffic, lambda _: None)

    def running(self, release):
        return self.candidates.is_up(release)


@pytest.fixture
def bench():
    bench = Bench()
    bench.candidate(V1)
    bench.go(V1)
    bench.candidate(V2)
    bench.world.cluster.log.clear()
    return bench


def outcomes(verdicts):
    return {v.check: v.outcome for v in verdicts}


def test_the_first_release_gets_the_traffic_without_a_switch():
    bench = Bench()
    bench.candidate(V1)

    verdicts = bench.go(V1)

    assert all(v.passed for v in verdicts)
    assert bench.traffic.on("tiny") == V1.id
    assert bench.records.live("tiny").release == V1.id


def test_the_traffic_moves_and_the_old_release_is_stopped_but_kept(bench):
    verdicts = bench.go(V2)

    assert all(v.passed for v in verdicts)
    assert bench.traffic.on("tiny") == bench.traffic.on("tiny", "agent") == V2.id
    assert (bench.running(V1), bench.running(V2)) == (False, True)
    assert bench.records.live("tiny").last_good == V1.id
    assert bench.records.require("tiny", V1.id).phase is Phase.REPLACED


@pytest.mark.parametrize(
    ("answer", "live"),
    [
        (Completion("tiny", "", (), "length", 5, 8, reasoning="Let me think about"), V2),
        (Completion("tiny", " ", (), "length", 5, 8), V1),
    ],
)
def test_thoughts_through_the_stable_address_are_an_answer_and_nothing_is_not(bench, monkeypatch, answer, live):
    monkeypatch.setattr(FakeInference, "chat", lambda *args, **kwargs: answer)

    bench.go(V2)

    assert bench.traffic.on("tiny") == live.id


@pytest.mark.parametrize(
    ("answer", "live"), [(Embedding("tiny", (0.1, 0.2), 5), V2), (Embedding("tiny", (0.0, 0.0), 5), V1)]
)
def test_the_stable_address_is_asked_what_the_task_of_the_release_answers(bench, monkeypatch, answer, live):
    asked = []
    monkeypatch.setattr(FakeInference, "ask", lambda self, task, *args, **kwargs: asked.append(task) or answer)

    @contextmanager
    def watch(url, model, task):
        asked.append(task)
        yield FakeWatch()

    verdict, _ = bench.go(replace(V2, task=Task.EMBED), watch)

    assert set(asked) == {Task.EMBED}
    assert bench.traffic.on("tiny") == live.id
    assert verdict.passed is (live is V2)


def test_the_old_release_is_stopped_only_after_the_selectors_moved(bench):
    bench.go(V2)

    log = bench.world.cluster.log
    assert log.index(f"select tiny -> {V2.id}") < log.index(f"scale {V1.agent_object_name} 0")
    assert log.index(f"scale {V1.agent_object_name} 0") < log.index(f"scale {V1.object_name} 0")


@pytest.mark.parametrize("name", [name for name in REQUIRED_FOR_LIVE if name not in not_asked(SPEC)])
@pytest.mark.parametrize("make", [failed, inconclusive])
def test_a_release_with_one_check_not_passed_is_refused_and_traffic_stays(name, make):
    bench = Bench()
    bench.candidate(V1)
    bench.go(V1)
    bench.candidate(V2, **{name: make(name.split(".")[1], "it is wrong")})

    with pytest.raises(ReleaseRefused, match="it is wrong"):
        bench.go(V2)

    assert bench.traffic.on("tiny") == V1.id


def test_a_release_that_was_never_measured_is_refused(bench):
    bench.records.update("tiny", V2.id, lambda r: r.reopened())

    with pytest.raises(ReleaseRefused, match="never measured"):
        bench.go(V2)


def test_a_rejected_release_is_refused_even_if_every_check_passed(bench):
    bench.records.update("tiny", V2.id, lambda r: r.in_phase(Phase.REJECTED, "by hand"))

    with pytest.raises(ReleaseRefused, match="by hand"):
        bench.go(V2)


def test_traffic_goes_back_when_the_stable_address_does_not_answer_with_the_new_release(bench):
    bench.world.broken_at_stable_address.add(V2.id)

    verdicts = outcomes(bench.go(V2))

    assert verdicts["serves_this_release"] is Outcome.FAILED
    assert bench.traffic.on("tiny") == V1.id
    assert bench.records.live("tiny").release == V1.id
    assert bench.running(V1)


def test_traffic_goes_back_when_requests_fail_while_it_moves(bench):
    @contextmanager
    def losing(url, model, task):
        yield FakeWatch(sent=10, failed=2)

    verdicts = outcomes(bench.go(V2, losing))

    assert verdicts == {"serves_this_release": Outcome.FAILED, "no_failed_request": Outcome.FAILED}
    assert bench.traffic.on("tiny") == V1.id


def test_a_switch_that_no_one_watched_is_inconclusive(bench):
    @contextmanager
    def blind(url, model, task):
        yield FakeWatch(sent=0)

    assert outcomes(bench.go(V2, blind))["no_failed_request"] is Outcome.INCONCLUSIVE


def test_a_first_release_that_does_not_answer_leaves_no_stable_address():
    bench = Bench()
    bench.candidate(V1)
    bench.world.broken_at_stable_address.add(V1.id)

    assert outcomes(bench.go(V1))["serves_this_release"] is Outcome.FAILED
    assert bench.traffic.on("tiny") is None


def test_a_first_release_that_is_live_already_keeps_its_address_when_it_does_not_answer():
    bench = Bench()
    bench.candidate(V1)
    bench.go(V1)
    bench.world.broken_at_stable_address.add(V1.id)

    assert outcomes(bench.go(V1))["serves_this_release"] is Outcome.FAILED
    assert bench.traffic.on("tiny") == V1.id


def test_a_cut_over_killed_after_the_selector_moved_converges_on_a_rerun(bench):
    bench.traffic.move(V2)

    verdicts = bench.go(V2)

    assert all(v.passed for v in verdicts)
    assert bench.records.live("tiny").release == V2.id
    assert not bench.running(V1)


def test_a_cut_over_killed_before_the_drain_still_stops_the_old_release_on_a_rerun(bench):
    bench.traffic.move(V2)
    bench.records.set_live(V2)

    bench.go(V2)

    assert not bench.running(V1)


def test_only_the_last_good_release_keeps_its_objects(bench):
    v3 = Release.of(SPEC, "3" * 40)
    bench.go(V2)
    bench.candidate(v3)

    bench.go(v3)

    assert bench.world.cluster.get("Deployment", V1.object_name) is None
    assert bench.world.cluster.get("Deployment", V2.object_name)["spec"]["replicas"] == 0
    assert bench.records.live("tiny").last_good == V2.id


def test_going_live_again_changes_nothing(bench):
    bench.go(V2)
    before = dict(bench.world.cluster.objects)

    verdicts = bench.go(V2)

    assert all(v.passed for v in verdicts)
    assert bench.world.cluster.objects == before


def test_rejecting_a_candidate_removes_it_and_leaves_the_live_release(bench):
    bench.ending.reject(V2, "wrong tool")

    assert bench.world.cluster.get("Deployment", V2.object_name) is None
    assert bench.world.cluster.get("Service", V2.agent_object_name) is None
    assert bench.running(V1)
    assert bench.records.require("tiny", V2.id).reason == "wrong tool"


def test_the_live_release_cannot_be_rejected(bench):
    bench.ending.reject(V1, "gate failed on a re-evaluation")

    assert bench.running(V1)
    assert bench.records.require("tiny", V1.id).phase is Phase.LIVE


def test_recreate_stops_the_live_release_first_and_brings_it_back_on_rejection(bench):
    bench.records.update("tiny", V2.id, lambda r: r.with_facts(Facts(strategy="recreate")))
    bench.cut_over.make_room_for(SPEC, V2, lambda _: None)
    assert not bench.running(V1)

    bench.ending.reject(V2, "wrong tool")

    assert bench.running(V1)


def test_what_outlives_the_drain_is_counted_and_named_in_the_verdict(bench, monkeypatch):
    outlived = Drained("a still has requests", ("/v1/completions r1 after 31 s on a",))
    monkeypatch.setattr("genai_pipeline.rollout.switch.candidates.drain", lambda *args: outlived)

    _, verdict = bench.go(V2)

    assert verdict.passed
    assert "1 outlived the drain deadline of 30 s" in verdict.summary
    assert verdict.evidence["outlived_the_drain"] == [{"request": "/v1/completions r1 after 31 s on a"}]
    assert not bench.running(V1)


def test_agents_get_the_name_of_their_engine_and_not_an_address_of_the_pipeline(bench):
    (container,) = bench.world.cluster.get("Deployment", V2.agent_object_name)["spec"]["template"]["spec"]["containers"]

    (url,) = [e["value"] for e in container["env"] if e["name"] == "MODEL_BASE_URL"]

    assert url == f"http://{V2.object_name}.genai.svc:8000/v1"


def test_proving_a_switch_asks_the_cluster_for_no_address_twice(bench, monkeypatch):
    asked = []
    endpoint = bench.world.cluster.endpoint
    monkeypatch.setattr(bench.world.cluster, "endpoint", lambda name: asked.append(name) or endpoint(name))
    bench.traffic.move(V2)

    assert bench.traffic.why_not_served_by(V2) == ""

    assert sorted(asked) == ["tiny", "tiny-agent"]


def test_while_the_new_release_is_watched_the_last_good_one_is_drained_but_stays_warm(bench, monkeypatch):
    drained = []
    monkeypatch.setattr(
        "genai_pipeline.rollout.switch.candidates.drain",
        lambda engine, *args: drained.append(engine.base_url) or Drained(),
    )

    bench.go(V2, spec=WATCHED)

    assert drained == [f"http://{V1.object_name}"]
    assert bench.candidates.is_warm(V1)
    live = bench.records.live("tiny")
    assert (live.last_good, live.watched_until) == (V1.id, "2026-01-01T00:02:00.000Z")
    assert bench.records.require("tiny", V1.id).phase is Phase.REPLACED


def test_without_a_watch_its_end_is_due_from_the_pointer_on_and_over_once_the_old_release_is_stopped(
    bench, monkeypatch
):
    pointers = []
    stop = bench.candidates.stop
    monkeypatch.setattr(
        bench.candidates, "stop", lambda *a, **k: pointers.append(bench.records.live("tiny")) or stop(*a, **k)
    )

    bench.go(V2)

    assert pointers[0].watched_until == "2026-01-01T00:00:00.000Z"
    assert bench.records.live("tiny").watched_until is None


def test_after_recreate_nothing_is_watched_and_nothing_stays_warm(bench):
    bench.records.update("tiny", V2.id, lambda r: r.with_facts(Facts(strategy="recreate")))
    bench.cut_over.make_room_for(WATCHED, V2, lambda _: None)

    bench.go(V2, spec=WATCHED)

    assert not bench.running(V1)
    assert bench.records.live("tiny").watched_until is None


def meanwhile(bench, monkeypatch, what):
    """Let somebody else do `what` after the selectors moved and before the pointer is written."""
    why_not = bench.traffic.why_not_served_by

    def prove(release):
        what()
        return why_not(release)

    monkeypatch.setattr(bench.traffic, "why_not_served_by", prove)


def test_a_cut_over_that_finds_the_pointer_moved_gives_up_and_follows_it(bench, monkeypatch):
    v0 = Release.of(SPEC, "0" * 40)
    bench.candidate(v0)
    meanwhile(bench, monkeypatch, lambda: bench.records.go_back(v0, V1.id))

    with pytest.raises(StoreConflict, match=f"{v0.id} is live"):
        bench.go(V2)

    assert bench.records.live("tiny").release == v0.id
    assert bench.traffic.on("tiny") == bench.traffic.on("tiny", "agent") == v0.id
    assert bench.records.require("tiny", V2.id).phase is Phase.ROLLING_OUT


@pytest.mark.parametrize(("phase", "error"), [(Phase.ROLLED_BACK, ReleaseRefused), (Phase.SUPERSEDED, Superseded)])
def test_a_cut_over_whose_own_release_ended_meanwhile_gives_the_traffic_back(bench, monkeypatch, phase, error):
    end = lambda: bench.records.update("tiny", V2.id, lambda r: r.in_phase(phase, "by hand"))  # noqa: E731
    meanwhile(bench, monkeypatch, end)

    with pytest.raises(error, match="by hand"):
        bench.go(V2)

    assert bench.records.live("tiny").release == V1.id
    assert bench.traffic.on("tiny") == V1.id
    assert bench.records.require("tiny", V2.id).phase is phase


def test_a_release_that_was_rolled_back_is_no_last_good_one(bench):
    bench.records.update("tiny", V1.id, lambda r: r.in_phase(Phase.ROLLED_BACK, "500s"))

    bench.go(V2)

    live = bench.records.live("tiny")
    assert (live.last_good, live.rolled_back) == (None, V1.id)
    assert bench.records.require("tiny", V1.id).phase is Phase.ROLLED_BACK
