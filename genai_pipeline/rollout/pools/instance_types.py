"""The EC2 instance types that our pools may ask for: sizes, GPUs and what an hour of one costs on demand. Pure.

The families and their labels are those of EKS Auto Mode; sizes and prices are known for the families that we use.
Sources: EKS documentation, "EKS Auto Mode supported instance reference"; EC2 documentation, "Instance type
specifications"; EC2 on-demand pricing page, Linux, us-east-1 and us-west-2 (the same for these families).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

PRICES_OF = "2025-07-01"
PRICES_IN = ("us-east-1", "us-west-2")

AUTO_MODE_FAMILIES: tuple[str, ...] = (
    "c8id", "c8i", "c8i-flex", "c8gd", "c8gn", "c8g", "c8a", "c8gb", "c7a", "c7g", "c7gn", "c7gd", "c7i",
    "c7i-flex", "c6a", "c6g", "c6i", "c6gn", "c6id", "c6in", "c6gd", "c5", "c5a", "c5d", "c5ad", "c5n", "c4",
    "m8id", "m8i", "m8i-flex", "m8a", "m8azn", "m8gn", "m8gb", "m8gd", "m8g", "m7i", "m7a", "m7g", "m7gd",
    "m7i-flex", "m6a", "m6i", "m6in", "m6g", "m6idn", "m6id", "m6gd", "m5", "m5a", "m5ad", "m5n", "m5dn", "m5d",
    "m5zn", "m4", "r8id", "r8i", "r8i-flex", "r8gn", "r8gb", "r8gd", "r8g", "r8a", "r7a", "r7iz", "r7gd", "r7i",
    "r7g", "r6a", "r6i", "r6id", "r6in", "r6idn", "r6g", "r6gd", "r5", "r5n", "r5a", "r5dn", "r5b", "r5ad", "r5d",
    "r4", "t4g", "t3", "t3a", "t2", "z1d", "x8aedz", "x8g", "x8i", "x2gd", "i8ge", "i7i", "i8g", "i7ie", "i4g",
    "i4i", "i3", "i3en", "is4gen", "d3", "d3en", "im4gn", "p6-b200", "p6-b300", "p5", "p5e", "p5en", "p4d",
    "p4de", "p3dn", "g7e", "g6", "gr6", "g6e", "g5g", "g5", "g4dn", "g4ad", "inf2", "inf1", "trn1", "trn1n",
    "trn2", "hpc8a", "x2iezn", "x2iedn", "x2idn",
)  # fmt: skip

GPU_NAMES: Mapping[str, str] = {
    "g4dn": "t4", "g4ad": "radeon-pro-v520", "g5": "a10g", "g5g": "t4g", "g6": "l4", "gr6": "l4", "g6e": "l40s",
    "g7e": "rtx-pro-server-6000", "p3dn": "v100", "p4d": "a100", "p4de": "a100", "p5": "h100", "p5e": "h200",
    "p5en": "h200", "p6-b200": "b200", "p6-b300": "b300",
}  # fmt: skip
"""GPU families and the GPU's name as in the label; every other family has no GPU."""


@dataclass(frozen=True)
class InstanceType:
    """One instance type. `usd_per_hour` is the on-demand list price of `PRICES_OF`."""

    name: str
    vcpus: int
    memory_gib: int
    gpus: int
    usd_per_hour: float

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]

    @property
    def size(self) -> str:
        return self.name.partition(".")[2]


# size: vCPUs, GiB, GPUs, USD per hour
_GPU_TYPES: Mapping[str, Mapping[str, tuple[int, int, int, float]]] = {
    "g6e": {
        "xlarge": (4, 32, 1, 1.861), "2xlarge": (8, 64, 1, 2.24208), "4xlarge": (16, 128, 1, 3.00424),
        "8xlarge": (32, 256, 1, 4.52856), "12xlarge": (48, 384, 4, 10.49264), "16xlarge": (64, 512, 1, 7.57719),
        "24xlarge": (96, 768, 4, 15.06559), "48xlarge": (192, 1536, 8, 30.13118),
    },
    "g6": {
        "xlarge": (4, 16, 1, 0.8048), "2xlarge": (8, 32, 1, 0.9776), "4xlarge": (16, 64, 1, 1.3232),
        "8xlarge": (32, 128, 1, 2.0144), "12xlarge": (48, 192, 4, 4.6016), "16xlarge": (64, 256, 1, 3.3968),
        "24xlarge": (96, 384, 4, 6.6752), "48xlarge": (192, 768, 8, 13.3504),
    },
    "g5": {
        "xlarge": (4, 16, 1, 1.006), "2xlarge": (8, 32, 1, 1.212), "4xlarge": (16, 64, 1, 1.624),
        "8xlarge": (32, 128, 1, 2.448), "12xlarge": (48, 192, 4, 5.672), "16xlarge": (64, 256, 1, 4.096),
        "24xlarge": (96, 384, 4, 8.144), "48xlarge": (192, 768, 8, 16.288),
    },
    "p5": {"4xlarge": (16, 256, 1, 6.88), "48xlarge": (192, 2048, 8, 55.04)},
}  # fmt: skip

# vCPUs by size, GiB per vCPU, USD per vCPU and hour: these families are priced by the vCPU
_WITHOUT_GPU: Mapping[str, tuple[str, int, float]] = {
    "m7i": ("2 4 8 16 32 48 64 96 192", 4, 0.0504),
    "c7i": ("2 4 8 16 32 48 64 96 192", 2, 0.044625),
    "m5": ("2 4 8 16 32 48 64 96", 4, 0.048),
    "c5": ("2 4 8 16 36 48 72 96", 2, 0.0425),
}


@cache
def instance_types() -> tuple[InstanceType, ...]:
    """Every type whose size and price are known, cheapest first."""
    return tuple(sorted((*_with_gpu(), *_without_gpu()), key=lambda t: (t.usd_per_hour, t.name)))


def types_of(family: str) -> tuple[InstanceType, ...]:
    """The known types of one family, cheapest first; empty for a family without a table."""
    return tuple(t for t in instance_types() if t.family == family)


def category_of(family: str) -> str:
    """The letters before the generation: `g` of `g6e`."""
    return re.match(r"[a-z]*", family).group()  # pyright: ignore[reportOptionalMemberAccess]


def generation_of(family: str) -> str:
    """The generation number: `6` of `g6e`; empty where the name has none."""
    found = re.match(r"[a-z]*(\d*)", family)
    return found.group(1) if found else ""


def _with_gpu() -> Iterator[InstanceType]:
    for family, sizes in _GPU_TYPES.items():
        for size, (vcpus, memory, gpus, price) in sizes.items():
            yield InstanceType(f"{family}.{size}", vcpus, memory, gpus, price)


def _without_gpu() -> Iterator[InstanceType]:
    for family, (sizes, gib, price) in _WITHOUT_GPU.items():
        for vcpus in map(int, sizes.split()):
            size = {2: "large", 4: "xlarge"}.get(vcpus, f"{vcpus // 4}xlarge")
            yield InstanceType(f"{family}.{size}", vcpus, vcpus * gib, 0, round(vcpus * price, 6))
