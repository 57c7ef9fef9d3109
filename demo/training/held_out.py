"""What is kept for the evaluation (held_out.yaml, held_out_second.yaml), and the guard that keeps it from training."""

import re
from functools import cache

from demo.training.grammar import FOLDER, read_yaml


def normalised(text: str) -> str:
    """Fold letter case, punctuation and slot names, so that trivial variants count as the same phrasing."""
    text = text.replace("{zone_place}", "{place}").replace("{other}", "{place}")
    return " ".join(re.findall(r"\w+", text.casefold().replace("'", "")))


SETS = ("held_out", "held_out_second")


@cache
def held_out(name: str = "held_out") -> dict:
    """One whole file; the places are in the first."""
    return read_yaml(FOLDER / f"{name}.yaml")


@cache
def held_phrasings() -> frozenset[str]:
    """All phrasings that training must not contain, normalised."""
    phrasings: list[str] = []
    for data in map(held_out, SETS):
        phrasings += [p for group in data["phrasings"].values() for p in group]
        phrasings += [p for group in data["small_talk"] for p in group["phrasings"]]
        phrasings += data["off_topic"]
    return frozenset(map(normalised, phrasings))


@cache
def held_cities() -> frozenset[str]:
    """Names that training must not contain, case-folded."""
    return frozenset(city.casefold() for city in held_out()["places"]["cities"])


@cache
def held_zones() -> frozenset[str]:
    """Zones that training must not contain: those listed, and those named after a held-out city."""
    return frozenset(held_out()["places"]["zones"])


def is_held_out(phrasing: str) -> bool:
    """Whether this phrasing, slots still open, is one of those kept for the evaluation."""
    return normalised(phrasing) in held_phrasings()


def zone_is_held_out(zone: str) -> bool:
    """Whether a zone, or the city that it is named after, is kept for the evaluation."""
    return zone in held_zones() or zone.rsplit("/", 1)[-1].replace("_", " ").casefold() in held_cities()
