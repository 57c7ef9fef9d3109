"""The arithmetic of scaling, without a process and without waiting."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest

from genai_pipeline.k8s.render import render_engine
from genai_pipeline.local.cluster.autoscaling import Decision, Recommendation, Scaling, decide, scaling_of
from genai_pipeline.local.cluster.objects import Object
from genai_pipeline.local.cluster.validate import problems
from tests.unit.k8s.everything import LARGE, PROFILES, release_of

SCALING = Scaling(fewest=1, most=4, target=2, up_after_s=10, down_after_s=60)


def run(loads: Iterable[float | None], scaling: Scaling = SCALING, now: int = 1, every_s: float = 5) -> list[int]:
    """The number after each look, as long as each decision is carried out."""
    history: Sequence[Recommendation] = ()
    numbers: list[int] = []
    for turn, load in enumerate(loads):
        made = decide(scaling, history, load, now, turn * every_s)
        history, now = made.history, made.replicas
        numbers.append(now)
    return numbers


def test_one_becomes_two_after_its_delay_and_one_again_after_the_longer_one() -> None:
    loads = [0, *[3] * 5, *[0] * 14]

    # The last look that asked for one was at 0 s, the last one that asked for two at 25 s.
    assert run(loads) == [1, 1, *[2] * 15, *[1] * 3]
    assert run(loads).index(2) * 5 == SCALING.up_after_s
    assert run(loads).index(1, 2) * 5 - 25 == SCALING.down_after_s


def test_a_short_peak_adds_nothing_and_a_short_pause_removes_nothing() -> None:
    assert set(run([0, 8, 0, 8, 0, 8, 0])) == {1}
    assert set(run([0, 0, 0, 4] * 6, now=2)) == {2}


def test_a_load_asks_for_as_many_as_keep_to_the_target_within_the_bounds() -> None:
    def settled(load: float, **changed: int) -> int:
        return run([load] * 40, Scaling(**{**vars(SCALING), **changed}))[-1]

    assert [settled(load) for load in (0, 1, 2, 3, 4, 5, 7, 8, 100)] == [1, 1, 1, 2, 2, 3, 4, 4, 4]
    assert settled(0, fewest=2) == 2
    assert settled(100, most=7) == 7


def test_a_load_close_to_the_target_changes_nothing() -> None:
    ten = Scaling(fewest=1, most=4, target=10, up_after_s=10, down_after_s=60)

    assert run([10.9] * 20, ten)[-1] == 1
    assert run([11.5] * 20, ten)[-1] == 2
    assert run([18] * 40, ten, now=2)[-1] == 2
    assert run([18] * 40, ten, now=3)[-1] == 2


def test_a_load_that_is_not_known_changes_nothing_in_either_direction() -> None:
    assert set(run([8, None] * 8)) == {1}
    assert set(run([*[0, 0, 0, 0, 0, None] * 8], now=3)) == {3}
    assert set(run([None] * 50, now=2)) == {2}


def test_what_is_outside_the_bounds_is_brought_back_at_once() -> None:
    assert run([None], now=6) == [4]
    assert run([0], Scaling(2, 4, 2, 10, 60), now=1) == [2]


def test_without_delays_it_follows_each_look() -> None:
    at_once = Scaling(fewest=1, most=4, target=2, up_after_s=0, down_after_s=0)

    assert run([0, 4, 0, 8, 1], at_once) == [1, 2, 1, 4, 1]


def test_the_first_look_of_a_daemon_counts_what_runs_as_asked_for() -> None:
    assert decide(SCALING, (), 0, 3, 100.0).replicas == 3
    assert decide(SCALING, (), 8, 1, 100.0).replicas == 1


def test_no_more_is_remembered_than_the_longer_delay_needs() -> None:
    made = Decision(1, ())
    for second in range(500):
        made = decide(SCALING, made.history, 1, made.replicas, float(second))

    assert len(made.history) <= SCALING.down_after_s + 2


@pytest.mark.parametrize("seed", range(5))
def test_the_number_never_leaves_the_bounds_and_never_moves_against_the_load(seed: int) -> None:
    chance = random.Random(seed)
    history: Sequence[Recommendation] = ()
    now = 2
    for turn in range(300):
        load = None if chance.random() < 0.1 else chance.uniform(0, 12)
        made = decide(SCALING, history, load, now, turn * 3.0)
        assert SCALING.fewest <= made.replicas <= SCALING.most
        if load is None:
            assert made.replicas == now
        elif made.replicas > now:
            assert load > SCALING.target * now
        elif made.replicas < now:
            assert load < SCALING.target * now
        history, now = made.history, made.replicas


def scaled_object() -> Object:
    return next(o for o in render_engine(LARGE, release_of(LARGE), PROFILES["local"]) if o["kind"] == "ScaledObject")


def test_what_is_rendered_is_what_this_cluster_reads() -> None:
    replicas = LARGE.serving.replicas

    assert problems(scaled_object()) == []
    assert scaling_of(scaled_object()) == Scaling(
        replicas.min,
        replicas.max,
        replicas.target_ongoing_requests,
        replicas.upscale_delay_s,
        replicas.downscale_delay_s,
    )


def test_what_this_cluster_cannot_follow_is_refused() -> None:
    other, two, none, unnamed = scaled_object(), scaled_object(), scaled_object(), scaled_object()
    other["spec"]["triggers"][0]["type"] = "cpu"
    two["spec"]["triggers"] *= 2
    del none["spec"]["triggers"][0]["metadata"]["threshold"]
    unnamed["spec"]["scaleTargetRef"] = {}

    for spoilt in (other, two, none):
        assert [found.partition(":")[0] for found in problems(spoilt)] == ["spec.triggers"]
    assert [found.partition(":")[0] for found in problems(unnamed)] == ["spec.scaleTargetRef.name"]
