"""Gets the instance types and prices of a region: from EC2, at most once a week, else from the package's data file.

EC2's answer is kept in the store, under `aws/instance-types/<region>.json`, because a run's own disk may not last. Each
result carries its date and source. Both stand beside every price in reports.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from genai_pipeline.core.errors import GenaiError, NotFound
from genai_pipeline.gateways.aws.abc import Aws
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.rollout.pools.instance_types import InstanceTypes, packaged, parse

KEPT_FOR = timedelta(days=7)
"""On-demand prices change a few times a year, and reading them takes some 30 requests."""


def instance_types_of(
    aws: Aws | None, store: ObjectStore, region: str, today: Callable[[], date] = lambda: datetime.now(UTC).date()
) -> InstanceTypes:
    """Return the instance types of a region with the newest known prices.

    Args:
        aws: None where there are no AWS credentials; then the data of the package counts.
    Returns: The instance types. Where AWS does not answer they are older, and `source` says why.
    Raises: StoreUnavailable.
    """
    if aws is None:
        return packaged(region)
    kept = _kept(store, region)
    if kept and date.fromisoformat(kept.date) > today() - KEPT_FOR:
        return kept
    try:
        types = aws.instance_types()
    except GenaiError as error:
        older = kept or packaged(region)
        return replace(older, source=f"{older.source}; not read again: {error}")
    source = "EC2's DescribeInstanceTypes and the AWS Price List"
    found = packaged(region).read_from_ec2(types, today().isoformat(), source)
    if store.writable:
        store.put(_key(region), found.to_json().encode())
    return found


def _kept(store: ObjectStore, region: str) -> InstanceTypes | None:
    with suppress(NotFound, ValueError, KeyError, TypeError):  # a damaged file is read from EC2 again
        return parse(store.get(_key(region))[0].decode(), region)
    return None


def _key(region: str) -> str:
    return f"aws/instance-types/{region}.json"
