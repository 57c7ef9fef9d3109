"""The instance types of a region with sizes and prices, and the families that EKS Auto Mode starts.

The data comes from EC2 (`capacity/instance_data.py`) or from `instance_types.json` in this folder. That file has a date
and a source, and `tools/write_instance_types.py` writes it from the same APIs. No API names the families of Auto Mode:
that list is copied from the EKS documentation, "EKS Auto Mode supported instance reference".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from genai_pipeline.gateways.aws.abc import InstanceType

DATA = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class InstanceTypes:
    """What is known of the instance types of one region.

    Args:
        types: with known sizes, cheapest first; those without a known price last.
        families: every family of Auto Mode, and its processor architecture ("amd64" or "arm64").
        region: whose prices these are.
        date: day of the prices, ISO 8601.
        source: where types and prices were read.
    """

    types: tuple[InstanceType, ...]
    families: Mapping[str, str]
    region: str
    date: str
    source: str

    def named(self, name: str) -> InstanceType | None:
        """Return the type of this name, or None where its size is not known."""
        return next((t for t in self.types if t.name == name), None)

    @property
    def families_without_sizes(self) -> Iterator[tuple[str, str]]:
        """Yield name and architecture of each family of which no type is known. None of them has a GPU."""
        sized = {t.family for t in self.types}
        return ((name, architecture) for name, architecture in self.families.items() if name not in sized)

    def read_from_ec2(self, types: list[InstanceType], date: str, source: str) -> InstanceTypes:
        """Return the same families with types that EC2 named; types of other families are left out."""
        known = [t for t in types if t.family in self.families]
        return replace(self, types=_cheapest_first(known), date=date, source=source)

    def to_json(self) -> str:
        """Return the text of a data file with the prices of this region alone."""
        return data_file([self])


UNKNOWN = InstanceTypes((), {}, "", "", "")
"""Outside EKS: what a node pool may start, and what that costs, is known only to its provider."""


@cache
def packaged(region: str) -> InstanceTypes:
    """Return the data of this package. Types have no price in a region of which the file holds none."""
    return parse(DATA.read_text(encoding="utf-8"), region)


def parse(text: str, region: str) -> InstanceTypes:
    """Return what a data file says of a region. Raises ValueError, KeyError, TypeError: the text is not such a file."""
    data = json.loads(text)
    types = [InstanceType(**(row | {"usd_per_hour": row["usd_per_hour"].get(region)})) for row in data["types"]]
    families = {name: arch for arch, names in data["auto_mode_families"].items() for name in names}
    return InstanceTypes(_cheapest_first(types), families, region, data["date"], data["source"])


def data_file(regions: list[InstanceTypes]) -> str:
    """Return the text of a data file: a line for each type, with its price in each of the regions."""
    rows: dict[str, dict[str, Any]] = {}
    for one in regions:
        for t in one.types:
            row = rows.setdefault(t.name, asdict(t) | {"usd_per_hour": {}})
            if t.usd_per_hour is not None:
                row["usd_per_hour"][one.region] = t.usd_per_hour
    first = regions[0]
    by_architecture = {a: sorted(f for f, of in first.families.items() if of == a) for a in ("amd64", "arm64")}
    head = {"source": first.source, "date": first.date, "auto_mode_families": by_architecture}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    types = ",\n".join(f"  {json.dumps(rows[name])}" for name in sorted(rows, key=_by_family_and_size(rows)))
    return "\n".join(["{", *lines, ' "types": [', types, " ]", "}"]) + "\n"


def generation_of(family: str) -> str:
    """Return the generation number: `6` of `g6e`."""
    return (re.match(r"[a-z]*(\d*)", family) or ["", ""])[1]


def _cheapest_first(types: list[InstanceType]) -> tuple[InstanceType, ...]:
    def order(t: InstanceType) -> tuple[Any, ...]:
        price = float("inf") if t.usd_per_hour is None else t.usd_per_hour
        return price, t.gpus, t.vcpus, t.memory_gib, t.name

    return tuple(sorted(types, key=order))


def _by_family_and_size(rows: Mapping[str, Mapping[str, Any]]) -> Any:
    return lambda name: (name.partition(".")[0], rows[name]["vcpus"], name)
