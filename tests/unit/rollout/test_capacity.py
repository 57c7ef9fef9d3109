import pytest

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.cluster.abc import Headroom
from genai_pipeline.rollout.capacity import plan_capacity


def spec(strategy="auto", gpu=""):
    return parse_model(
        f"name: tiny\nsource: {{hub: a/b}}\nrollout: {{strategy: {strategy}}}\n"
        f"serving:\n  resources: {{cpu: 2, memory_gib: 8}}\n{gpu}",
        "f",
    )


def plan(model, memory=16.0, cpu=4.0, gpus=0.0, up=False, live=True):
    return plan_capacity(model, Headroom(memory, cpu, gpus, "test"), candidate_is_up=up, live_is_up=live)


def outcomes(result):
    return {v.check: v.outcome for v in result.verdicts}


def test_a_candidate_that_fits_beside_the_live_release_is_blue_green():
    result = plan(spec())

    assert result.strategy == "blue_green"
    assert set(outcomes(result).values()) == {Outcome.PASSED}


@pytest.mark.parametrize("short", [{"memory": 4.0}, {"cpu": 1.0}])
def test_without_room_auto_falls_back_to_recreate(short):
    assert plan(spec(), **short).strategy == "recreate"


def test_without_room_and_without_a_live_release_to_stop_it_fails_and_says_what_lacks():
    result = plan(spec(), memory=4.0, live=False)

    assert result.strategy is None
    assert outcomes(result)["surge_fits"] is outcomes(result)["strategy_chosen"] is Outcome.FAILED
    assert "memory_gib: 8 needed, 4 free" in result.verdicts[0].summary


def test_blue_green_that_does_not_fit_fails_rather_than_interrupt_service():
    assert outcomes(plan(spec("blue_green"), memory=4.0))["surge_fits"] is Outcome.FAILED


def test_a_candidate_that_already_runs_needs_no_more_room():
    assert plan(spec(), memory=0.0, up=True).strategy == "blue_green"


def test_gpus_count_where_the_model_asks_for_them():
    model = spec("blue_green", "  gpu: {instance-family: g6e, count: 2}\n")

    assert outcomes(plan(model, gpus=1.0))["surge_fits"] is Outcome.FAILED
    assert outcomes(plan(model, gpus=2.0))["surge_fits"] is Outcome.PASSED


def test_what_the_cluster_does_not_know_is_not_held_against_the_candidate():
    assert plan(spec(), cpu=None).strategy == "blue_green"


def test_a_reservation_that_cannot_be_read_is_inconclusive():
    model = spec(gpu="  gpu: {count: 1, reservation: required}\n")

    assert outcomes(plan(model, gpus=8.0))["reservation_active"] is Outcome.INCONCLUSIVE


def test_an_optional_reservation_does_not_hold_a_model_up():
    model = spec(gpu="  gpu: {count: 1, reservation: optional}\n")

    assert outcomes(plan(model, gpus=8.0))["reservation_active"] is Outcome.PASSED
