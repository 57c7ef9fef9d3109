"""The instance types that the simulated cloud offers, as Karpenter's kwok provider reads them.

Prices are USD per hour and only order the types: what a replica costs is the product's own table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ZONES = ("us-west-2a", "us-west-2b")
RESERVED = ("p5.48xlarge", "us-west-2b", "cr-0123456789abcdef0")
"""The one capacity reservation: type, zone, id."""
SPOT_SHARE = 0.4

_SIZES = {"large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "12xlarge": 48, "24xlarge": 96}
_FAMILIES: dict[str, tuple[int, float, tuple[str, ...]]] = {
    "m7i": (4, 0.0504, ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge")),
    "c7i": (2, 0.0446, ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge")),
    "m5": (4, 0.048, ("large", "xlarge", "2xlarge", "4xlarge")),
    "c5": (2, 0.0425, ("large", "xlarge", "2xlarge", "4xlarge")),
}
"""Family: GiB and USD per vCPU, sizes."""

_GPU_TYPES: dict[str, tuple[int, int, int, float]] = {
    "g5.xlarge": (4, 16, 1, 1.006),
    "g5.2xlarge": (8, 32, 1, 1.212),
    "g5.12xlarge": (48, 192, 4, 5.672),
    "g6.xlarge": (4, 16, 1, 0.805),
    "g6.2xlarge": (8, 32, 1, 0.978),
    "g6.12xlarge": (48, 192, 4, 4.602),
    "g6e.xlarge": (4, 32, 1, 1.861),
    "g6e.2xlarge": (8, 64, 1, 2.242),
    "g6e.4xlarge": (16, 128, 1, 3.004),
    "g6e.12xlarge": (48, 384, 4, 10.493),
    "g6e.48xlarge": (192, 1536, 8, 30.131),
    "p5.48xlarge": (192, 2048, 8, 55.04),
}
"""Type: vCPU, GiB, GPUs, USD per hour."""


def write_instance_types(file: Path) -> Path:
    """Write the file for INSTANCE_TYPES_FILE_PATH; returns it."""
    shapes = {
        f"{family}.{size}": (_SIZES[size], gib * _SIZES[size], 0, price * _SIZES[size])
        for family, (gib, price, sizes) in _FAMILIES.items()
        for size in sizes
    }
    file.write_text(json.dumps([_type(name, *shape) for name, shape in (shapes | _GPU_TYPES).items()], indent=1))
    return file


def _type(name: str, cpu: int, gib: int, gpus: int, price: float) -> dict[str, Any]:
    resources = {"cpu": str(cpu), "memory": f"{gib}Gi", "ephemeral-storage": "80Gi", "pods": "110"}
    return {
        "name": name,
        "architecture": "amd64",
        "operatingSystems": ["linux"],
        "offerings": [offer for zone in ZONES for offer in _offers(name, zone, price)],
        "resources": resources | ({"nvidia.com/gpu": str(gpus)} if gpus else {}),
    }


def _offers(name: str, zone: str, price: float) -> list[dict[str, Any]]:
    offers = [_offer(zone, "on-demand", price), _offer(zone, "spot", round(price * SPOT_SHARE, 4))]
    if (name, zone) == RESERVED[:2]:
        # Karpenter takes a reservation first because it is all but free.
        reserved = _offer(zone, "reserved", 0.0001, {"eks.amazonaws.com/capacity-reservation-id": RESERVED[2]})
        offers.append(reserved | {"ReservationCapacity": 1})
    return offers


def _offer(zone: str, capacity: str, price: float, more: dict[str, str] | None = None) -> dict[str, Any]:
    labels = {"karpenter.sh/capacity-type": capacity, "topology.kubernetes.io/zone": zone, **(more or {})}
    requirements = [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
    return {"Price": price, "Available": True, "Requirements": requirements}
