"""EC2's reservations, quotas, instance types and prices through boto3.

Needs ec2:DescribeCapacityReservations, ec2:DescribeInstances, ec2:DescribeInstanceTypes, pricing:GetProducts and
servicequotas:GetServiceQuota.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from genai_pipeline.core.errors import Refused, Unavailable
from genai_pipeline.core.model_spec import ReservationTerm
from genai_pipeline.gateways.aws.abc import Aws, InstanceType, Reservation, VcpuQuota, category_of
from genai_pipeline.gateways.aws.denials import CLOCK, EXPIRED, RENEW, UNKNOWN_KEYS, denial, safe_words
from genai_pipeline.gateways.aws.pod_identity import patient_session

QUOTAS: Mapping[str, tuple[str, str]] = {
    "standard": ("L-1216C47A", "a c d h i m r t z im is"),
    "g": ("L-DB2E81BA", "g gr vt"),
    "p": ("L-417A185B", "p"),
    "inf": ("L-1945791B", "inf"),
    "trn": ("L-2C3B7624", "trn"),
    "x": ("L-7295265B", "x"),
}
"""Quota code and the instance categories that count against it.

Source: EC2 documentation, "On-Demand Instance quotas"; Service Quotas console, "Running On-Demand … instances".
"""

Client = Callable[[str], Any]


class Ec2(Aws):
    """EC2 in one region.

    Args:
        region: whose reservations, quotas and prices are read.
        client: makes a boto3 client for a service; None takes boto3's own, with short deadlines.
    """

    def __init__(self, region: str, client: Client | None = None) -> None:
        self._region = region
        self._client = client or self._boto3_client

    def reservations(self, terms: Sequence[ReservationTerm]) -> list[Reservation]:
        found = {r["CapacityReservationId"]: r for term in terms for r in self._selected(term)}
        return [_reservation(found[key]) for key in sorted(found)]

    def vcpu_quota(self, family: str) -> VcpuQuota | None:
        category = category_of(family)
        group = next((g for g in QUOTAS.values() if category in g[1].split()), None)
        if group is None:
            return None
        code, categories = group
        with _answered("servicequotas:GetServiceQuota"):
            quota = self._quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
        return VcpuQuota(quota["QuotaName"], float(quota["Value"]), self._vcpus_in_use(categories.split()))

    def instance_types(self) -> list[InstanceType]:
        virtual = [{"Name": "bare-metal", "Values": ["false"]}]
        with _answered("ec2:DescribeInstanceTypes"):
            pages = list(self._ec2.get_paginator("describe_instance_types").paginate(Filters=virtual))
        with _answered("pricing:GetProducts"):
            usd = prices(self._client("pricing"), self._region)
        return [_instance_type(found, usd) for page in pages for found in page["InstanceTypes"]]

    def _selected(self, term: ReservationTerm) -> Iterator[dict[str, Any]]:
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in sorted(term.tags.items())]
        if term.owner:
            filters.append({"Name": "owner-id", "Values": [term.owner]})
        asked: dict[str, Any] = {"Filters": filters} if filters else {}
        if term.id:
            asked["CapacityReservationIds"] = [term.id]
        with _answered("ec2:DescribeCapacityReservations", absent="InvalidCapacityReservationId.NotFound"):
            for page in self._ec2.get_paginator("describe_capacity_reservations").paginate(**asked):
                yield from page["CapacityReservations"]

    def _vcpus_in_use(self, categories: Sequence[str]) -> float:
        # The API filters by pattern: `i*` also matches inf and im, so the answer is filtered again.
        patterns = [f"{category}*" for category in categories]
        filters = [
            {"Name": "instance-state-name", "Values": ["pending", "running"]},
            {"Name": "instance-type", "Values": patterns},
        ]
        with _answered("ec2:DescribeInstances"):
            pages = list(self._ec2.get_paginator("describe_instances").paginate(Filters=filters))
        running = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
        counted = [i for i in running if _is_on_demand(i) and category_of(i["InstanceType"]) in categories]
        return float(sum(i["CpuOptions"]["CoreCount"] * i["CpuOptions"]["ThreadsPerCore"] for i in counted))

    @cached_property
    def _ec2(self) -> Any:
        return self._client("ec2")

    @cached_property
    def _quotas(self) -> Any:
        return self._client("service-quotas")

    def _boto3_client(self, service: str) -> Any:
        from botocore.config import Config

        config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
        region = PRICE_LIST_REGION if service == "pricing" else self._region
        return self._session.client(service, region_name=region, config=config)

    @cached_property
    def _session(self) -> Any:
        return patient_session(self._region)


def _reservation(found: Mapping[str, Any]) -> Reservation:
    return Reservation(
        id=found["CapacityReservationId"],
        instance_type=found["InstanceType"],
        zone=found.get("AvailabilityZone", ""),
        state=found["State"],
        total=found["TotalInstanceCount"],
        available=found["AvailableInstanceCount"],
        kind="capacity-block" if found.get("ReservationType") == "capacity-block" else "default",
        ends_at=found.get("EndDate"),
    )


def _instance_type(found: Mapping[str, Any], usd: Mapping[str, float]) -> InstanceType:
    gpus = found.get("GpuInfo", {}).get("Gpus", [])
    arm = "arm64" in found["ProcessorInfo"]["SupportedArchitectures"]
    return InstanceType(
        name=found["InstanceType"],
        vcpus=found["VCpuInfo"]["DefaultVCpus"],
        memory_gib=found["MemoryInfo"]["SizeInMiB"] / 1024,
        gpus=sum(gpu["Count"] for gpu in gpus),
        gpu="-".join(gpus[0]["Name"].lower().split()) if gpus else "",
        architecture="arm64" if arm else "amd64",
        usd_per_hour=usd.get(found["InstanceType"]),
    )


def _is_on_demand(instance: Mapping[str, Any]) -> bool:
    return instance.get("InstanceLifecycle") not in ("spot", "capacity-block")


@contextmanager
def _answered(permission: str, absent: str = "") -> Iterator[None]:
    """Turn boto3's errors into ours. The code `absent` stands for an empty answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == absent:
            return
        if why := denial(code, error.response.get("Error", {}).get("Message", ""), permission):
            raise Refused(f"{why.what}.", why.remedy) from error
        if code in CLOCK:
            raise Unavailable(
                f"AWS refuses {permission} ({code}).", "Set the clock of this machine (by NTP)."
            ) from error
        if code in EXPIRED | UNKNOWN_KEYS:
            raise Refused(f"AWS does not take these credentials ({code}).", RENEW) from error
        raise Unavailable(f"AWS did not answer {permission} ({code}).", "Try again later.") from error
    except (BotoCoreError, OSError, RuntimeError) as error:  # the last two: credentials that cannot be renewed
        raise Unavailable(
            f"AWS did not answer {permission} ({safe_words(str(error))}).", "Check region, credentials and network."
        ) from error


PRICE_LIST_REGION = "us-east-1"
"""The API has few endpoints. Each of them knows the prices of every region."""
_ON_DEMAND = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "operation": "RunInstances",
}


def prices(client: Any, region: str) -> Mapping[str, float]:
    """Return USD per hour on demand by instance type: Linux, shared tenancy, nothing pre-installed.

    Args:
        client: boto3's `pricing` client.
        region: whose prices, like `eu-west-1`.
    Source: AWS Price List Query API reference, "GetProducts"; its answers are JSON texts, one for each product.
    """
    wanted = _ON_DEMAND | {"regionCode": region}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    pages = client.get_paginator("get_products").paginate(
        ServiceCode="AmazonEC2", Filters=filters, FormatVersion="aws_v1"
    )
    products = [json.loads(text) for page in pages for text in page["PriceList"]]
    return {product["product"]["attributes"]["instanceType"]: usd for product in products for usd in _usd(product)}


def _usd(product: Mapping[str, Any]) -> Iterator[float]:
    for offer in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in offer["priceDimensions"].values():
            usd = float(dimension["pricePerUnit"].get("USD", 0))
            if dimension["unit"] == "Hrs" and usd > 0:
                yield usd
