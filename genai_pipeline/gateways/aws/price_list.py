"""Reads on-demand prices from the AWS Price List. Needs pricing:GetProducts.

Source: AWS Price List Query API reference, "GetProducts"; its answers are JSON texts, one for each product.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

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
