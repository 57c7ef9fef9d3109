"""The data file of instance types, and where newer data comes from."""

import json
from datetime import date

import pytest

from genai_pipeline.core.errors import Refused, Unavailable
from genai_pipeline.gateways.aws.abc import Aws, InstanceType
from genai_pipeline.rollout.capacity.instance_data import instance_types_of
from genai_pipeline.rollout.pools.instance_types import DATA, data_file, packaged, parse
from genai_pipeline.rollout.pools.node_labels import labels_of, values_of
from tests.fakes.world import World

KEY = "aws/instance-types/eu-west-1.json"
SMALL = InstanceType("g6e.xlarge", 4, 32, 1, "l40s", "amd64", 2.1)


class Ec2Today(Aws):
    def __init__(self, types=(SMALL,), error=None):
        self.asked, self.types, self.error = 0, types, error

    def reservations(self, terms):
        return []

    def vcpu_quota(self, family):
        return None

    def instance_types(self):
        self.asked += 1
        if self.error:
            raise self.error
        return list(self.types)


@pytest.fixture
def store():
    return World().store


def on(day):
    return lambda: date.fromisoformat(day)


def test_without_credentials_the_dated_data_of_the_package_counts(store):
    found = instance_types_of(None, store, "us-east-1")

    assert found == packaged("us-east-1")
    assert date.fromisoformat(found.date) < date.today()
    assert found.named("g6e.xlarge").usd_per_hour == 1.861


def test_with_credentials_prices_are_of_today_and_kept_in_the_store_for_a_week(store):
    aws = Ec2Today()

    first = instance_types_of(aws, store, "eu-west-1", on("2026-11-29"))
    again = instance_types_of(aws, store, "eu-west-1", on("2026-12-05"))

    assert (first.named("g6e.xlarge").usd_per_hour, first.date) == (2.1, "2026-11-29")
    assert "Price List" in first.source
    assert again == first
    assert aws.asked == 1

    instance_types_of(aws, store, "eu-west-1", on("2026-12-06"))
    assert aws.asked == 2


def test_prices_of_one_region_are_not_those_of_another(store):
    instance_types_of(Ec2Today(), store, "eu-west-1", on("2026-11-29"))
    other = Ec2Today([InstanceType("g6e.xlarge", 4, 32, 1, "l40s", "amd64", 9.9)])

    assert instance_types_of(other, store, "eu-north-1", on("2026-11-29")).named("g6e.xlarge").usd_per_hour == 9.9
    assert packaged("eu-north-1").named("g6e.xlarge").usd_per_hour is None


@pytest.mark.parametrize(
    "error", [Refused("AWS denies pricing:GetProducts.", "Grant it."), Unavailable("No.", "Later.")]
)
def test_where_aws_does_not_answer_older_data_counts_and_its_source_says_so(store, error):
    kept = instance_types_of(Ec2Today(), store, "eu-west-1", on("2026-01-01"))

    later = instance_types_of(Ec2Today(error=error), store, "eu-west-1", on("2026-11-29"))
    never = instance_types_of(Ec2Today(error=error), store, "us-east-1", on("2026-11-29"))

    assert (later.types, later.date) == (kept.types, "2026-01-01")
    assert never.types == packaged("us-east-1").types
    assert all(str(error) in found.source for found in (later, never))


@pytest.mark.parametrize("damaged", ["", "[]", "{}", json.dumps({"types": [{"name": 1}]})])
def test_a_damaged_file_in_the_store_is_read_again(store, damaged):
    store.put(KEY, damaged.encode())

    assert instance_types_of(Ec2Today(), store, "eu-west-1", on("2026-11-29")).named("g6e.xlarge").usd_per_hour == 2.1


def test_families_that_auto_mode_does_not_start_are_left_out(store):
    found = instance_types_of(Ec2Today([SMALL, InstanceType("zz9.large", 2, 4, 0, "", "amd64")]), store, "eu-west-1")

    assert [t.name for t in found.types] == ["g6e.xlarge"]


def test_the_packages_file_is_what_the_script_writes():
    regions = [packaged("us-east-1"), packaged("us-west-2")]

    assert json.loads(data_file(regions)) == json.loads(DATA.read_text())
    assert parse(data_file(regions), "us-west-2") == regions[1]


def test_types_are_ordered_by_price_and_unknown_prices_come_last():
    prices = [t.usd_per_hour for t in packaged("us-east-1").types]
    known = [p for p in prices if p is not None]

    assert known == sorted(known) == prices[: len(known)]


def test_every_family_with_gpus_has_types_of_known_size():
    known = packaged("us-east-1")

    assert values_of("eks.amazonaws.com/instance-gpu-name") == {t.gpu for t in known.types if t.gpus}
    assert not [name for name, _ in known.families_without_sizes if name.startswith(("g4", "g5", "g6", "g7", "p"))]


def test_a_type_has_the_labels_that_auto_mode_gives_its_nodes():
    labels = labels_of(packaged("us-east-1").named("g6e.12xlarge"))

    assert labels["eks.amazonaws.com/instance-gpu-count"] == "4"
    assert labels["eks.amazonaws.com/instance-gpu-name"] == "l40s"
    assert labels["eks.amazonaws.com/instance-memory"] == str(384 * 1024)
    assert labels["eks.amazonaws.com/instance-category"] == "g"
    assert labels["eks.amazonaws.com/instance-generation"] == "6"
    assert labels["kubernetes.io/arch"] == "amd64"
    assert labels_of(packaged("us-east-1").named("m5.large"))["eks.amazonaws.com/instance-gpu-count"] is None
