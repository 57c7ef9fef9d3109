"""Apply, conflict, adopt, list, diff."""

from __future__ import annotations

import base64

import pytest

from genai_pipeline.core.errors import Refused
from tests.conformance.world import World, config_map, secret, with_spec


def test_the_first_apply_creates_and_the_same_again_changes_nothing(world: World) -> None:
    objects = [world.deployment(replicas=0), world.service()]

    first = [a.action for a in world.cluster.apply(objects)]
    world.cluster.wait_ready("m", 30)
    again = [a.action for a in world.cluster.apply(objects)]

    assert (first, again) == (["created", "created"], ["unchanged", "unchanged"])
    assert world.object("Deployment", "m")["metadata"]["generation"] == 1


def test_generation_grows_with_the_spec_and_not_with_labels(world: World) -> None:
    deployment = world.deployment(replicas=0)
    world.cluster.apply([deployment])
    labelled = deployment | {"metadata": {"name": "m", "labels": {"release": "x"}}}

    assert [a.action for a in world.cluster.apply([labelled])] == ["configured"]
    assert world.object("Deployment", "m")["metadata"]["generation"] == 1

    world.cluster.apply([with_spec(labelled, minReadySeconds=1)])
    assert world.object("Deployment", "m")["metadata"]["generation"] == 2


def test_a_field_that_we_no_longer_send_disappears(world: World) -> None:
    world.cluster.apply([config_map(a="1", b="2")])
    world.cluster.apply([config_map(a="1")])

    assert world.object("ConfigMap", "settings")["data"] == {"a": "1"}


def test_a_field_of_another_manager_stays_and_changing_it_is_a_conflict(world: World) -> None:
    world.other_manager.apply([config_map(theirs="1")])
    world.cluster.apply([config_map(ours="1")])

    assert world.object("ConfigMap", "settings")["data"] == {"theirs": "1", "ours": "1"}
    with pytest.raises(Refused, match=r"data\.theirs is owned by 'somebody-else'"):
        world.cluster.apply([config_map(theirs="2")])
    assert world.object("ConfigMap", "settings")["data"]["theirs"] == "1"


def test_a_field_that_another_manager_gives_up_can_be_had(world: World) -> None:
    world.other_manager.apply([config_map(theirs="1", more="1")])
    world.other_manager.apply([config_map(more="1")])

    world.cluster.apply([config_map(theirs="2")])
    assert world.object("ConfigMap", "settings")["data"] == {"theirs": "2", "more": "1"}


def test_one_value_may_have_two_owners_and_stays_until_both_leave_it_out(world: World) -> None:
    world.other_manager.apply([config_map(both="1", other="1")])
    world.cluster.apply([config_map(both="1", ours="1")])
    world.cluster.apply([config_map(ours="1")])

    assert world.object("ConfigMap", "settings")["data"]["both"] == "1"
    world.other_manager.apply([config_map(other="1")])
    assert "both" not in world.object("ConfigMap", "settings")["data"]


def test_an_object_made_by_hand_is_adopted_where_its_values_agree(world: World) -> None:
    world.create_by_hand(world.service())

    assert [a.action for a in world.cluster.apply([world.service()])] in (["unchanged"], ["configured"])
    assert world.cluster.diff([world.service()]) == []
    labelled = world.service() | {"metadata": {"name": "m", "labels": {"release": "x"}}}
    world.cluster.apply([labelled])
    assert world.object("Service", "m")["metadata"]["labels"] == {"release": "x"}


def test_an_object_made_by_hand_with_other_values_is_a_conflict_that_names_field_and_owner(world: World) -> None:
    world.create_by_hand(config_map(a="1", b="1"))

    with pytest.raises(Refused, match=r"data\.b is owned by '(kubectl-create|somebody-else)'"):
        world.cluster.apply([config_map(a="1", b="2")])


def test_what_someone_edited_by_hand_is_a_difference_and_taken_back_where_that_is_asked_for(world: World) -> None:
    world.create_by_hand(config_map(a="1", b="1"))
    wanted = [config_map(a="1", b="2")]

    (difference,) = world.cluster.diff(wanted, take_back=True)
    assert (difference.field, difference.wanted, difference.live) == ("data.b", "2", "1")
    assert world.object("ConfigMap", "settings")["data"]["b"] == "1"

    world.cluster.apply(wanted, take_back=True)
    assert world.object("ConfigMap", "settings")["data"] == {"a": "1", "b": "2"}
    assert world.cluster.diff(wanted) == []


def test_a_selector_and_replicas_are_taken_back_from_whoever_changed_them(world: World) -> None:
    world.cluster.apply([world.deployment(replicas=0), world.service()])
    world.other_manager.scale("m", 1)
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "n"}, "spec": world.service("x")["spec"]}
    world.other_manager.apply([foreign])

    world.cluster.apply([world.deployment(replicas=0), world.service("n")])

    assert world.object("Service", "n")["spec"]["selector"] == {"app": "n"}
    assert world.object("Deployment", "m")["spec"]["replicas"] == 0


def test_diff_names_what_an_apply_would_change_and_changes_nothing(world: World) -> None:
    world.cluster.apply([world.deployment(replicas=0)])

    (difference,) = world.cluster.diff([world.deployment(replicas=0, image="test/echo:2")])

    assert difference.field == "spec.template.spec.containers[0].image"
    assert (difference.wanted, difference.live) == ("test/echo:2", "test/echo:1")
    assert world.cluster.diff([world.deployment(replicas=0)]) == []
    assert world.cluster.diff([config_map()])[0].live is None
    assert world.cluster.get("ConfigMap", "settings") is None


def test_one_refused_object_keeps_the_whole_apply_from_happening(world: World) -> None:
    with pytest.raises(Refused, match=r"containers\[0\]\.image"):
        world.cluster.apply([config_map(a="1"), world.deployment(image="")])

    assert world.cluster.get("ConfigMap", "settings") is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"replicas": "many"}, "replicas"),
        ({"replicas": -1}, r"spec\.replicas"),
        ({"selector": {"matchLabels": {"app": "another"}}}, "selector"),
    ],
    ids=["type", "value", "selector"],
)
def test_an_invalid_object_is_refused_with_its_field(world: World, fields: dict[str, object], named: str) -> None:
    with pytest.raises(Refused, match=named):
        world.cluster.apply([with_spec(world.deployment(), **fields)])


def test_the_selector_of_a_deployment_cannot_change(world: World) -> None:
    world.cluster.apply([world.deployment(replicas=0)])
    deployment = world.deployment(replicas=0)
    deployment["spec"]["template"]["metadata"]["labels"]["more"] = "1"

    with pytest.raises(Refused, match=r"spec\.selector"):
        world.cluster.apply([with_spec(deployment, selector={"matchLabels": {"app": "m", "more": "1"}})])


def test_a_manifest_without_a_name_is_refused(world: World) -> None:
    with pytest.raises(Refused, match=r"name"):
        world.cluster.apply([config_map() | {"metadata": {}}])


def test_list_returns_the_objects_whose_labels_match(world: World) -> None:
    blue, green = (world.service(name) | {"metadata": {"name": name, "labels": {"is": name}}} for name in ("b", "g"))
    world.cluster.apply([green, blue])

    assert [s["metadata"]["name"] for s in world.cluster.list("Service", {"is": "g"})] == ["g"]
    assert [(s["kind"], s["metadata"]["name"]) for s in world.cluster.list("Service")] == [
        ("Service", "b"),
        ("Service", "g"),
    ]


def test_what_is_not_there_is_none_and_an_empty_list(world: World) -> None:
    assert world.cluster.get("Deployment", "nothing") is None
    assert world.cluster.list("Deployment") == []
    assert world.cluster.events("ConfigMap", "nothing") == []
    assert world.cluster.logs({"app": "nothing"}) == ""


def test_a_secret_is_kept_as_base64_and_diff_does_not_show_it(world: World) -> None:
    world.cluster.apply([secret(key="old")])

    assert world.object("Secret", "keys")["data"] == {"key": base64.b64encode(b"old").decode()}
    (difference,) = world.cluster.diff([secret(key="new")])
    assert "new" not in str(difference)
    assert base64.b64encode(b"new").decode() not in str(difference)
