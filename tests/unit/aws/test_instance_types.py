"""Instance types and prices as EC2 and the Price List say them: moto's EC2, and the Price List's recorded shape."""

import json

import boto3
import pytest
from botocore.stub import Stubber

from genai_pipeline.core.errors import Refused
from genai_pipeline.gateways.aws.ec2 import Ec2

SOME = ("g6e.", "m7g.", "m7i.", "p5.")
SECRETS = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}


def product(name, usd, unit="Hrs", terms="OnDemand"):
    """A product as GetProducts returns it, shortened to the fields that vary."""
    dimension = {"unit": unit, "pricePerUnit": {"USD": usd}, "beginRange": "0", "endRange": "Inf", "appliesTo": []}
    offer = {"priceDimensions": {"SKU.TERM.RATE": dimension}, "effectiveDate": "2026-11-01T00:00:00Z", "sku": "SKU"}
    attributes = {"instanceType": name, "regionCode": "eu-west-1", "operatingSystem": "Linux", "tenancy": "Shared"}
    return json.dumps(
        {
            "product": {"productFamily": "Compute Instance", "attributes": attributes, "sku": "SKU"},
            "serviceCode": "AmazonEC2",
            "terms": {terms: {"SKU.TERM": offer}},
            "publicationDate": "2026-11-20T22:00:00Z",
        }
    )


@pytest.fixture
def pricing():
    client = boto3.client("pricing", **SECRETS)
    with Stubber(client) as stub:
        yield client, stub


@pytest.fixture
def ec2(pricing, monkeypatch):
    from moto import mock_aws  # slow to import, and every worker collects this file
    from moto.ec2.models.instance_types import InstanceTypeBackend

    some = [found for found in InstanceTypeBackend.instance_types if found["InstanceType"].startswith(SOME)]
    monkeypatch.setattr(InstanceTypeBackend, "instance_types", some)  # an answer with all takes moto three seconds
    with mock_aws():
        clients = {"ec2": boto3.client("ec2", **SECRETS | {"region_name": "eu-west-1"}), "pricing": pricing[0]}
        yield Ec2("eu-west-1", clients.__getitem__)


def answer(stub, *products, token=None):
    stub.add_response(
        "get_products",
        {"FormatVersion": "aws_v1", "PriceList": list(products)} | ({"NextToken": token} if token else {}),
    )


def test_sizes_gpus_and_architectures_are_ec2s_and_prices_the_price_lists(ec2, pricing):
    answer(pricing[1], product("g6e.xlarge", "2.1000000000"), token="more")
    answer(pricing[1], product("m7i.large", "0.1100000000"))

    types = {t.name: t for t in ec2.instance_types()}

    one = types["g6e.xlarge"]
    assert (one.vcpus, one.memory_gib, one.gpus, one.gpu, one.architecture) == (4, 32, 1, "l40s", "amd64")
    assert one.usd_per_hour == 2.1
    assert types["m7i.large"].usd_per_hour == 0.11
    assert (types["m7g.large"].architecture, types["m7g.large"].gpu) == ("arm64", "")
    assert types["g6e.12xlarge"].gpus == 4


def test_a_type_without_an_hourly_on_demand_price_has_none(ec2, pricing):
    answer(
        pricing[1],
        product("g6e.xlarge", "0.0000000000"),
        product("g6e.2xlarge", "1.0", unit="Quantity"),
        product("g6e.4xlarge", "1.0", terms="Reserved"),
    )

    assert {t.usd_per_hour for t in ec2.instance_types()} == {None}


def test_prices_are_asked_for_linux_on_shared_hosts_in_the_region(ec2, pricing):
    asked = {}
    pricing[0].meta.events.register(
        "provide-client-params.pricing.GetProducts", lambda params, **_: asked.update(params)
    )
    answer(pricing[1])

    ec2.instance_types()

    filters = {one["Field"]: one["Value"] for one in asked["Filters"]}
    assert filters["regionCode"] == "eu-west-1"
    assert (filters["operatingSystem"], filters["tenancy"], filters["preInstalledSw"]) == ("Linux", "Shared", "NA")


def test_a_denied_price_list_is_refused_with_the_missing_permission(ec2, pricing):
    pricing[1].add_client_error("get_products", "AccessDeniedException", http_status_code=400)

    with pytest.raises(Refused, match="pricing:GetProducts"):
        ec2.instance_types()
