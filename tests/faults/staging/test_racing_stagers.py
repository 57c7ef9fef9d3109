"""Eight stagers of one revision at once, each a process of its own, round after round."""

from __future__ import annotations

import queue
import random
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.manifest import MANIFEST_NAME
from tests.faults.staging.child import StagerProcess, context
from tests.faults.staging.world import Addresses, World

STAGERS = 8
LONG, NIGHTLY = pytest.mark.long, pytest.mark.nightly
DEADLINE_S = 60


@pytest.fixture(scope="module")
def racers():
    """Called with addresses: all stage at the same moment; returns what each of them got."""
    made = context()
    start, answers = made.Barrier(STAGERS), made.Queue()
    asked = [made.Queue() for _ in range(STAGERS)]
    running = [made.Process(target=_race, args=(start, questions, answers), daemon=True) for questions in asked]
    for process in running:
        process.start()

    def race(addresses: Addresses) -> list[str]:
        for questions in asked:
            questions.put(addresses)
        try:
            return [answers.get(timeout=DEADLINE_S) for _ in range(STAGERS)]
        except queue.Empty:
            raise AssertionError(f"Not all stagers ended within {DEADLINE_S} s.") from None

    yield race
    for questions in asked:
        questions.put(None)
    for process in running:
        process.join(10)
        process.kill()


def _race(start: Barrier, questions: Any, answers: Any) -> None:
    while addresses := questions.get():
        start.wait(DEADLINE_S)
        try:
            answers.put(addresses.stage().to_bytes().decode())
        except GenaiError as error:
            answers.put(f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=LONG), pytest.param(80, marks=NIGHTLY)])
def test_stagers_of_one_revision_at_once_end_with_one_manifest_and_no_damage(small_world: World, racers, rounds):
    for _ in range(rounds):
        small_world.reset()

        manifests = racers(small_world.addresses)

        assert len(set(manifests)) == 1, manifests
        assert small_world.manifest().to_bytes().decode() == manifests[0]
        written = [e.status for e in small_world.s3.exchanges if e.method == "PUT" and e.path.endswith(MANIFEST_NAME)]
        assert written.count(200) == 1, "a manifest was written over another one"
        small_world.assert_right()
        assert small_world.uploads() == []
        small_world.assert_swept()


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=LONG if n < 2 else NIGHTLY) for n in range(1, 10))])
def test_a_stager_that_is_killed_beside_another_one_does_it_no_harm(small_world: World, tmp_path, seed):
    chosen = random.Random(seed)
    doomed, other = (StagerProcess(small_world.addresses, tmp_path) for _ in range(2))
    kill_at = chosen.randint(5, 40)

    def kill_in_time(_):
        if len(small_world.hub.exchanges) + len(small_world.s3.exchanges) == kill_at:
            doomed.kill()

    small_world.hub.fault = small_world.s3.fault = kill_in_time
    doomed.start()
    other.start()

    assert other.ended() == 0, other.words
    doomed.ended()
    small_world.hub.fault = small_world.s3.fault = lambda _: None
    small_world.quiet()
    small_world.assert_right()
    small_world.assert_swept()


def test_stagers_of_different_sizes_of_parts_do_not_mix_their_parts(small_world: World, tmp_path):
    other = replace(small_world.addresses, part_size=small_world.addresses.part_size + 4)
    stagers = [StagerProcess(a, tmp_path).start() for a in (small_world.addresses, other, small_world.addresses, other)]

    assert [s.ended() for s in stagers] == [0] * 4, [s.words for s in stagers]

    small_world.assert_right()
    assert small_world.uploads() == []
