"""Names of places: well-known cities with their zone, regions, IANA zones, and invented names that teach copying."""

import re
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from demo.training.grammar import FOLDER, read_yaml
from demo.training.held_out import held_cities, zone_is_held_out


@dataclass(frozen=True)
class Place:
    """A place as a user says it, and what the tools have to be called with."""

    spoken: str
    location: str
    zone: str

    def cased(self, rng: Random) -> "Place":
        """Sometimes type the name carelessly; the location is copied as it was typed."""
        roll = rng.random()
        if roll > 0.09 or "/" in self.spoken:
            return self
        case = str.lower if roll < 0.08 else str.upper
        zone = case(self.zone) if self.zone == self.location else self.zone
        return replace(self, spoken=case(self.spoken), location=case(self.location), zone=zone)


@cache
def _data() -> dict:
    return read_yaml(FOLDER / "places.yaml")


@cache
def zones() -> list[str]:
    """IANA's `Area/City` names, without those kept for the evaluation."""
    return [zone for zone in (FOLDER / "zones.txt").read_text().split() if not zone_is_held_out(zone)]


@cache
def zone_by_city() -> dict[str, str]:
    """The zone of every city and region that the model is taught."""
    known = {}
    for zone in zones():
        area, *rest = zone.split("/")
        if area in ("Asia", "Europe", "Africa", "America", "Pacific") and len(rest) == 1:
            known[rest[0].replace("_", " ")] = zone
    for zone, cities in _data()["cities"].items():
        known |= dict.fromkeys(cities, zone)
    known |= _data()["regions"]
    return {
        city: zone
        for city, zone in known.items()
        if city.casefold() not in held_cities() and not zone_is_held_out(zone)
    }


@cache
def _listed() -> tuple[list[str], list[str], list[str]]:
    """Well-known cities (by zone, evenly), well-known cities, and everything with a known zone."""
    by_zone = list(_data()["cities"].values())
    return by_zone, [c for cities in by_zone for c in cities], list(zone_by_city())


def known(rng: Random) -> Place:
    """A well-known city or region."""
    by_zone, cities, everything = _listed()
    roll = rng.random()
    name = rng.choice(rng.choice(by_zone) if roll < 0.3 else cities if roll < 0.75 else everything)
    if name not in zone_by_city():
        return known(rng)
    spoken = name
    if rng.random() < 0.03:
        spoken = f"{name}, {rng.choice(_data()['countries'])}"
    return Place(spoken, name, zone_by_city()[name])


def word(rng: Random) -> str:
    """A pronounceable invented word, sometimes a random string."""
    if rng.random() < 0.2:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyzéöüãñ") for _ in range(rng.randint(3, 9)))
    syllables = []
    for _ in range(rng.choice([1, 2, 2, 2, 3, 3, 4])):
        vowel = rng.choice(_data()["plain_vowels"] if rng.random() < 0.88 else _data()["accented_vowels"])
        coda = rng.choice(_data()["codas"] if rng.random() < 0.94 else _data()["accented_codas"])
        syllables.append(rng.choice(_data()["onsets"]) + vowel + coda)
    return "".join(syllables)


def _other_script(rng: Random) -> str:
    if rng.random() < 0.5:
        return "".join(
            chr(rng.choice([rng.randint(0x4E00, 0x5FFF), rng.randint(0x3042, 0x3090)]))
            for _ in range(rng.randint(2, 4))
        )
    return "".join(chr(rng.randint(0x430, 0x44F)) for _ in range(rng.randint(3, 8))).capitalize()


def invented_name(rng: Random) -> str:
    """A name of one to four words, as cities have them."""
    name, data = word(rng).capitalize(), _data()
    roll = rng.random()
    if roll < 0.14:
        name = f"{rng.choice(data['name_prefixes'])} {name}"
    elif roll < 0.22:
        name = f"{name} {rng.choice(data['name_suffixes'])}"
    elif roll < 0.32:
        name = f"{name} {word(rng).capitalize()}"
    elif roll < 0.38:
        name = f"{name}-{word(rng).capitalize()}"
    elif roll < 0.42:
        name = f"{name}-{rng.choice(['sur', 'en', 'on', 'am', 'de', 'la', 'au'])}-{word(rng).capitalize()}"
    elif roll < 0.47:
        name = f"{name} {rng.choice(data['name_links'])} {word(rng).capitalize()}"
    elif roll < 0.49:
        name = f"{rng.choice(data['name_prefixes'])} {name} {rng.choice(data['name_links'])} {word(rng).capitalize()}"
    elif roll < 0.51:
        name = f"{rng.choice('NLDO')}'{name}"
    elif roll < 0.52:
        name = f"{name}'s {word(rng).capitalize()}"
    elif roll < 0.54:
        name = _other_script(rng)
    elif roll < 0.57:
        name = f"{name}{rng.choice(['-', ' ', ' '])}{name}"
    return invented_name(rng) if name.casefold() in held_cities() else name


def invented(rng: Random) -> Place:
    """A place that exists nowhere: its zone can only be asked for by its name."""
    name = invented_name(rng)
    return Place(name, name, name)


def zone(rng: Random) -> Place:
    """An IANA zone as the user's own word, real or made to look so."""
    if rng.random() < 0.6:
        name = rng.choice(zones())
    else:
        several_words = (n for n in iter(lambda: invented_name(rng), None) if " " in n)
        city = re.sub(r"\s+", "_", next(several_words) if rng.random() < 0.4 else invented_name(rng))
        area = rng.choice(_data()["zone_areas"]) if rng.random() < 0.8 else word(rng).capitalize()
        name = f"{area}/{city}" if rng.random() < 0.85 else f"{area}/{word(rng).capitalize()}/{city}"
    return Place(name, name, name)


def named_zone(rng: Random) -> Place:
    """A zone as people call it: Pacific time, CET."""
    name, target = rng.choice(list(_data()["zone_names"].items()))
    return Place(name, name, target)


def any_place(rng: Random) -> Place:
    """A place to ask the weather for."""
    return (known(rng) if rng.random() < 0.48 else invented(rng)).cased(rng)


def any_time_place(rng: Random) -> Place:
    """A place or zone to ask the time for."""
    roll = rng.random()
    if roll < 0.34:
        return zone(rng)
    if roll < 0.80:
        return known(rng).cased(rng)
    return named_zone(rng) if roll < 0.83 else invented(rng).cased(rng)


def either_place(rng: Random) -> Place:
    """A place that both tools make sense for."""
    return (known(rng) if rng.random() < 0.6 else invented(rng)).cased(rng)
