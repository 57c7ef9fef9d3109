import pytest

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.errors import Refused, Superseded
from genai_pipeline.core.notice import NoticeKind
from genai_pipeline.core.record import Phase
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import failed, inconclusive, passed
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.control.overtaking import Overtaking
from tests.fakes.hand_clock import HandClock
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE, World

SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "tiny.yaml")
V1, V2 = Release.of(SPEC, "1" * 40), Release.of(SPEC, "2" * 40)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def engines(world):
    """V1 is live, V2 a candidate beside it."""
    engines = Engines(PROFILE, world.gateways())
    for release in (V1, V2):
        engines.records().open(SPEC, release, "found")
        engines.candidates().start_engine(SPEC, release, lambda _: None)
        engines.candidates().start_agent(SPEC, release, lambda _: None)
    engines.traffic().move(V1)
    engines.records().set_live(V1)
    return engines


def running(world):
    return {d["metadata"]["labels"]["genai-pipeline/release"] for d in world.cluster.list("Deployment")}


def test_traffic_that_a_dead_run_had_moved_goes_back_before_the_candidate_goes(engines, world):
    engines.traffic().move(V2)
    world.cluster.log.clear()

    engines.ending().reject(V2, "attempts ended")

    before, after = world.cluster.log[:2], world.cluster.log[2:]
    assert before == [f"select tiny-agent -> {V1.id}", f"select tiny -> {V1.id}"]
    assert not [line for line in after if line.startswith("select")]
    assert engines.traffic().on("tiny") == V1.id
    assert running(world) == {V1.id}


def test_without_a_live_release_the_stable_address_is_closed_before_the_candidate_goes(world):
    engines = Engines(PROFILE, world.gateways())
    engines.records().open(SPEC, V1, "found")
    engines.candidates().start_engine(SPEC, V1, lambda _: None)
    engines.traffic().move(V1)

    engines.ending().reject(V1, "attempts ended")

    assert engines.traffic().on("tiny") is None


def test_the_live_release_cannot_be_rejected(engines, world):
    engines.ending().reject(V1, "a re-evaluation failed")

    assert engines.records().require("tiny", V1.id).phase is Phase.ROLLING_OUT
    assert V1.id in running(world)


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (("serving_report", failed("ttft_p95", "slow")), NoticeKind.REJECTED),
        (("capacity", failed("surge_fits", "no room")), NoticeKind.NO_CAPACITY),
        (("serving_report", inconclusive("ttft_p95", "silent")), NoticeKind.INCONCLUSIVE),
    ],
)
def test_people_read_which_kind_of_end_it_was(engines, verdict, kind):
    asset, found = verdict
    engines.records().update("tiny", V2.id, lambda r: r.with_verdicts(asset, [found], 1.0))

    engines.ending().reject(V2, "why")

    (notice,) = engines.notices().waiting()
    assert (notice.kind, notice.release) == (kind, V2.id)
    assert "why" in notice.text


def test_an_end_that_was_interrupted_is_finished_by_whoever_finds_it(engines, world):
    world.cluster.delete = lambda *_: (_ for _ in ()).throw(Refused("not now"))
    with pytest.raises(Refused):
        engines.ending().reject(V2, "why")
    record = engines.records().require("tiny", V2.id)
    assert (record.phase, record.leftover) == (Phase.REJECTED, True)
    del world.cluster.delete

    assert not engines.ending().finish(record).leftover
    assert running(world) == {V1.id}


def test_only_what_is_on_its_way_is_superseded(engines):
    engines.records().update("tiny", V2.id, lambda r: r.in_phase(Phase.LIVE))

    assert engines.ending().supersede(V2, "newer").phase is Phase.LIVE


def test_a_run_notices_within_seconds_of_its_own_words_that_it_was_superseded(engines):
    clock, said = HandClock(), []
    say = Overtaking(engines.records(), engines.ending(), clock).watched(
        engines.records().require("tiny", V2.id), said.append
    )
    engines.ending().supersede(V2, "newer")

    say("at once")
    clock.now += 3
    with pytest.raises(Superseded, match="was superseded: newer"):
        say("later")

    assert said == ["at once", "later"]


def test_a_look_that_fails_ends_nothing(engines, world):
    clock = HandClock()
    say = Overtaking(engines.records(), engines.ending(), clock).watched(
        engines.records().require("tiny", V2.id), print
    )
    world.store.go_down()
    clock.now += 3

    say("still here")


def test_the_live_release_is_not_overtaken_by_a_word_that_came_too_late(engines):
    engines.ending().supersede(V1, "newer")

    engines.overtaking().refuse_overtaken(engines.records().require("tiny", V1.id))


def proven(engines):
    for asset, checks in CHECKS.items():
        found = [passed(check, "fine") for check in checks]
        engines.records().update("tiny", V2.id, lambda r, a=asset, f=found: r.with_verdicts(a, f, 1.0))
    return engines.records().require("tiny", V2.id)


def test_only_a_proven_release_waits_for_approval(engines):
    engines.approvals().ask(engines.records().require("tiny", V2.id))

    assert engines.records().require("tiny", V2.id).phase is Phase.ROLLING_OUT
    assert not engines.notices().waiting()


def test_an_approval_says_who_and_when_and_the_first_one_stays(engines):
    engines.approvals().ask(proven(engines))

    engines.approvals().approve("tiny", V2.id, "ann")
    record = engines.approvals().approve("tiny", V2.id, "bob")

    assert record.approved.startswith("ann at 20")


def test_what_was_superseded_while_it_waited_is_not_approved(engines):
    engines.approvals().ask(proven(engines))
    engines.ending().supersede(V2, "newer")

    with pytest.raises(Refused, match="it is superseded"):
        engines.approvals().approve("tiny", V2.id, "ann")
