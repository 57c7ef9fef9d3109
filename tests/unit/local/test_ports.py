import pytest

from genai_pipeline.core.errors import Refused
from genai_pipeline.core.profile import LOCAL_PORTS
from genai_pipeline.local.ports import choose_ports

FREE = 40000


def choose(env=None, remembered=None, ours=(), taken=(), contested=False):
    return choose_ports(
        env or {},
        remembered or {},
        frozenset(ours),
        lambda p: p not in taken,
        any_free=lambda: FREE,
        contested=contested,
    )


def test_every_service_gets_its_usual_port():
    choice = choose()

    assert choice.ports == LOCAL_PORTS
    assert choice.notes == ()


def test_a_taken_port_is_replaced_by_a_free_one_and_that_is_said():
    choice = choose(taken={3000})

    assert choice.ports["dagster"] == FREE
    assert len(choice.notes) == 1
    assert "3000" in choice.notes[0]
    assert "GENAI_DAGSTER_PORT" in choice.notes[0]


def test_the_port_of_last_time_is_kept():
    assert choose(remembered={"s3": 9333}).ports["s3"] == 9333


def test_a_port_that_our_own_service_holds_is_fine():
    choice = choose(remembered={"s3": 9333}, ours={"s3"}, taken={9333})

    assert choice.ports["s3"] == 9333
    assert choice.notes == ()


def test_a_port_that_the_user_fixed_is_taken_or_refused_but_never_replaced():
    assert choose(env={"GENAI_HUB_PORT": "7001"}).ports["hub"] == 7001
    with pytest.raises(Refused, match=r"Port 7001 \(GENAI_HUB_PORT\) is taken by .*set GENAI_HUB_PORT to another"):
        choose(env={"GENAI_HUB_PORT": "7001"}, taken={7001})


def test_beside_another_installation_that_starts_now_only_ports_that_are_no_ones_habit_are_chosen():
    choice = choose(
        env={"GENAI_HUB_PORT": "7001"}, remembered={"s3": 9333, "dagster": 9334}, ours={"s3"}, contested=True
    )

    usual = LOCAL_PORTS.keys() - {"s3", "hub"}
    assert {choice.ports[service] for service in usual} == {FREE}
    assert (choice.ports["s3"], choice.ports["hub"]) == (9333, 7001)


def test_a_port_that_the_user_fixed_again_moves_a_running_service():
    choice = choose(env={"GENAI_S3_PORT": "7002"}, remembered={"s3": 9333}, ours={"s3"}, taken={9333})

    assert choice.ports["s3"] == 7002


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80.5"])
def test_what_is_not_a_port_is_refused_by_the_name_of_its_variable(text):
    with pytest.raises(Refused, match="GENAI_S3_PORT"):
        choose(env={"GENAI_S3_PORT": text})


def test_two_services_never_get_the_same_port():
    choice = choose(remembered={"s3": LOCAL_PORTS["hub"]})

    assert choice.ports["s3"] == LOCAL_PORTS["hub"]
    assert choice.ports["hub"] == FREE
