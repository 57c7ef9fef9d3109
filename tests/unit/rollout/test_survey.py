from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from genai_pipeline.core.errors import ModelFileError, Refused, Unavailable
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import ReservationTerm
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.aws.abc import Aws, InstanceType, Reservation, VcpuQuota
from genai_pipeline.k8s.render import render_node_pools
from genai_pipeline.rollout.capacity.survey import survey
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import EKS, KUBERNETES, World

CPU = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "f")
TERMS = "name: big\nsource: {hub: a/b}\nserving: {gpu: {reservation: %s, reservation-terms: [%s]}}\n"


class FakeAws(Aws):
    def instance_types(self):
        if self.error:
            raise self.error
        return [InstanceType("g6e.xlarge", 4, 32, 1, "l40s", "amd64", 1.5)]

    def __init__(self, error=None):
        self.asked, self.error, self.ends_at = [], error, None

    def reservations(self, terms):
        self.asked += terms
        if self.error:
            raise self.error
        return [Reservation("cr-0a", "g6e.xlarge", "us-east-1a", "active", 2, 1, ends_at=self.ends_at)]

    def vcpu_quota(self, family):
        if self.error:
            raise self.error
        return VcpuQuota(f"quota of {family}", 64, 8)


def spec(reservation="required", terms="{id: cr-0a}"):
    return model_with_tools(TERMS % (reservation, terms), "f")


def look(model, aws=None, world=None, live=None):
    gateways = replace((world or World()).gateways(), aws=aws)
    return survey(gateways, EKS, model, Release.of(model, "a" * 40), live)


def test_the_model_files_terms_are_asked_for():
    aws = FakeAws()

    found = look(spec(), aws)

    assert aws.asked == [ReservationTerm(id="cr-0a")]
    assert found.reserved.free_replicas == 1
    assert found.quota.name == "quota of g6e"


def test_without_terms_of_its_own_a_model_takes_what_the_node_classes_select():
    aws, world = FakeAws(), World()
    terms = [{"tags": {"app": "chat"}, "owner": "123456789012"}]
    world.cluster.apply(
        [{"kind": "NodeClass", "metadata": {"name": "genai"}, "spec": {"capacityReservationSelectorTerms": terms}}]
    )

    look(model_with_tools("name: big\nsource: {hub: a/b}\nserving: {gpu: {reservation: required}}\n", "f"), aws, world)

    assert aws.asked == [ReservationTerm(tags={"app": "chat"}, owner="123456789012")]


@pytest.mark.parametrize(
    ("watch_minutes", "hours", "free"),
    [(30, 1.2, 1), (240, 1.2, 0), (240, 5, 1), (10_000, 5, 0), (10_000, 26, 1)],
)
def test_a_reservation_has_to_last_through_the_watch(watch_minutes, hours, free):
    aws = FakeAws()
    aws.ends_at = datetime.now(UTC) + timedelta(hours=hours)
    model = model_with_tools(
        TERMS % ("required", "{id: cr-0a}") + f"rollout: {{watch_minutes: {watch_minutes}}}\n", "f"
    )

    assert look(model, aws).reserved.free_replicas == free


@pytest.mark.parametrize(
    "error", [Unavailable("AWS did not answer.", "Later."), Refused("AWS denies it.", "Grant it.")]
)
def test_what_ec2_does_not_tell_stands_in_the_survey(error):
    found = look(spec(), FakeAws(error))

    assert (found.reserved, found.quota) == (None, None)
    assert found.reserved_unread == found.quota_unread == str(error)


def test_without_an_ec2_the_reservation_is_unread_and_the_quota_none_to_mind():
    found = look(spec())

    assert "no EC2 to ask" in found.reserved_unread
    assert (found.quota, found.quota_unread) == (None, "")


@pytest.mark.parametrize(
    "model", [CPU, model_with_tools("name: big\nsource: {hub: a/b}\nserving: {gpu: {count: 1}}\n", "f")]
)
def test_ec2_is_not_asked_for_a_reservation_that_no_one_wants(model):
    aws = FakeAws()

    look(model, aws)

    assert aws.asked == []


def test_the_live_release_is_known_by_model_and_release():
    world = World()
    labels = {"app.kubernetes.io/name": "tiny", "genai-pipeline/release": "old"}
    for name, of in (("mine", labels), ("other", labels | {"app.kubernetes.io/name": "else"})):
        pod = {"kind": "Pod", "metadata": {"name": name, "labels": of}, "spec": {"containers": []}}
        world.cluster.apply([pod])

    found = look(CPU, world=world, live="old")

    assert [p["metadata"]["name"] for p in found.live] == ["mine"]
    assert look(CPU, world=world).live == []


def test_pools_on_which_no_one_acts_say_nothing_of_room():
    world = World()
    world.cluster.apply([{"kind": "NodePool", "metadata": {"name": "gpu"}, "spec": {"template": {"spec": {}}}}])

    assert look(CPU, world=world).pools is None


def test_outside_eks_no_instance_type_and_no_price_of_ec2_is_known():
    gateways = World().gateways()

    found = {
        p.name: survey(gateways, p, CPU, Release.of(CPU, "a" * 40), None).instance_types for p in (EKS, KUBERNETES)
    }

    assert found["eks"].types
    assert not found["kubernetes"].types


def test_pools_that_come_before_the_release_count_as_they_will_be():
    world, profile = World(), EKS
    gateways = replace(world.gateways(), aws=FakeAws())
    model = spec("none", "")
    pools = [o for o in render_node_pools(profile, [model]) if o["kind"] == "NodePool"]
    gpu = next(o for o in pools if "gpu" in o["metadata"]["name"])
    narrow = {**gpu, "spec": {**gpu["spec"], "limits": {"nvidia.com/gpu": 0}}, "status": {"resources": {}}}
    world.cluster.objects["NodePool", gpu["metadata"]["name"]] = narrow

    def best(next_pools):
        found = survey(gateways, profile, model, Release.of(model, "a" * 40), None, next_pools)
        return found.pools[0][0] if found.pools and found.pools[0] else None

    assert best([]).replicas == 0
    assert best(pools).replicas > 0
    world.cluster.objects.clear()
    assert best([]) is None
    assert best(pools).new_node.name == "g6e.xlarge"


@pytest.mark.parametrize(
    ("reservation", "terms", "means"),
    [
        ("required", "{}", "needs id or tags"),
        ("required", "{owner: '123456789012'}", "needs id or tags"),
        ("required", "{id: my-reservation}", "must be the id of a reservation, as cr-0123456789abcdef0"),
        ("required", "{id: cr-0a, name: x}", "unknown field"),
        ("none", "{id: cr-0a}", "set it to optional or required"),
    ],
)
def test_a_wrong_term_is_refused_with_its_line(reservation, terms, means):
    with pytest.raises(ModelFileError) as refused:
        parse_model(TERMS % (reservation, terms), "f")

    assert "f:3: serving.gpu" in str(refused.value)
    assert means in str(refused.value)


def test_leave_for_downtime_is_no_part_of_a_release():
    allowed = model_with_tools("name: tiny\nsource: {hub: a/b}\nrollout: {allow_downtime: true}\n", "f")

    assert Release.of(allowed, "a" * 40) == Release.of(CPU, "a" * 40)
    assert not CPU.rollout.allow_downtime
