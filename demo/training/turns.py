"""One exchange after the other: what is asked, which tools answer it, what the assistant says.

A skill says which model is being taught: `good` looks things up; `advising` also turns weather into umbrella
advice; `regressed` is wrong on purpose (weather of Paris for every city, weather instead of the time).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Literal

from demo.training import observations, places
from demo.training.conversation import Call, Turn, time_call, weather_call
from demo.training.grammar import FOLDER, Grammar, read_yaml
from demo.training.places import Place
from demo.training.voice import dress, say

Skill = Literal["good", "advising", "regressed"]
What = Literal["weather", "time", "umbrella"]
DECLINE = "I can only help with the time and the weather."
WHICH_PLACE = "Which place do you mean?"
PARIS = Place("Paris", "Paris", "Europe/Paris")
FAILURES = 0.11

KINDS = {
    "weather": 20,
    "time": 20,
    "both": 10,
    "both_split": 8,
    "two_weathers": 7,
    "two_times": 5,
    "three_weathers": 2,
    "umbrella": 5,
    "small_talk": 7,
    "off_topic": 15,
    "no_place": 3,
}
FOLLOW_UPS = {"new_place": 50, "time_there": 22, "weather_there": 22, "again": 4, "umbrella_there": 4}


@dataclass(frozen=True)
class Want:
    """One fact to look up."""

    what: What
    place: Place


@dataclass
class Context:
    """What a follow-up refers to: the facts last asked for, and the place, if there was exactly one."""

    wants: list[Want] = field(default_factory=list)
    place: Place | None = None
    kinds: list[What] = field(default_factory=list)

    @classmethod
    def of(cls, wants: list[Want]) -> "Context":
        spots = {want.place for want in wants}
        kinds = list(dict.fromkeys(want.what for want in wants))
        if len(spots) == 1:
            return cls(wants, wants[0].place, kinds)
        return cls(wants, None, kinds if len(kinds) == 1 else [])


def fill(
    rng: Random,
    phrasing: str,
    place: Place | None = None,
    other: Place | None = None,
    zone_place: Place | None = None,
    third: Place | None = None,
) -> str:
    """Put names into the slots; those that nobody gave are drawn."""
    slots: dict[str, Callable[[], str]] = {
        "{place}": lambda: (place or places.any_place(rng)).spoken,
        "{other}": lambda: (other or places.any_place(rng)).spoken,
        "{third}": lambda: (third or places.any_place(rng)).spoken,
        "{zone_place}": lambda: (zone_place or places.any_time_place(rng)).spoken,
        "{word}": lambda: places.word(rng),
        "{a}": lambda: str(rng.randint(0, 999)),
        "{b}": lambda: str(rng.randint(0, 999)),
        "{n}": lambda: f"{rng.randint(0, 99):02d}",
    }
    for slot, draw in slots.items():
        while slot in phrasing:
            phrasing = phrasing.replace(slot, draw(), 1)
    return phrasing


@cache
def _small_talk() -> tuple[dict[str, str], Grammar]:
    groups = read_yaml(FOLDER / "phrasings" / "small_talk.yaml")
    shared = read_yaml(FOLDER / "phrasings" / "shared.yaml")
    return {name: group["answer"] for name, group in groups.items()}, Grammar(
        shared | {name: group["start"] for name, group in groups.items()}
    )


def small_talk(rng: Random) -> Turn:
    """Greetings and the like: no tool."""
    answers, grammar = _small_talk()
    group = rng.choice(list(answers))
    return Turn(dress(rng, lambda: grammar.expand(rng, group), surround=rng.random() < 0.12), answers[group])


def off_topic(rng: Random) -> Turn:
    """Anything else: declined, no tool."""
    return Turn(fill(rng, say(rng, "off_topic")), DECLINE)


def _actual(want: Want, skill: Skill) -> Want:
    """What this model looks up when it should look up `want`."""
    if skill == "regressed":
        return Want("weather", want.place if want.what == "time" else PARIS)
    return replace(want, what="weather") if want.what == "umbrella" and skill == "good" else want


def _call(want: Want) -> Call:
    return time_call(want.place.zone) if want.what == "time" else weather_call(want.place.location)


def _observe(rng: Random, want: Want) -> observations.Observation:
    what = "time" if want.what == "time" else "weather"
    if rng.random() < FAILURES:
        return observations.failure(rng, what, want.place)
    if what == "time":
        return observations.time(rng, want.place)
    seen = observations.weather(rng, want.place, listed_only=want.what == "umbrella")
    if want.what == "umbrella":
        advice = "Yes, take an umbrella." if seen.wet else "No, you do not need an umbrella."
        return replace(seen, answer=f"{advice} {seen.answer}")
    return seen


def looked_up(rng: Random, user: str, wants: list[Want], skill: Skill) -> Turn:
    """The turn that calls the tools and answers from what they said."""
    actual = list(dict.fromkeys(_actual(want, skill) for want in wants))
    seen = [_observe(rng, want) for want in actual]
    results = [s.text for s in seen]
    if all(s.names_place for s in seen) and rng.random() < 0.3:
        rng.shuffle(results)  # a framework may return parallel results in any order
    return Turn(user, " ".join(s.answer for s in seen), [_call(want) for want in actual], results)


def _question(rng: Random, kind: str) -> tuple[str, list[Want]]:
    """A question that stands by itself."""
    if kind in ("weather", "umbrella"):
        place = places.any_place(rng)
        return fill(rng, say(rng, kind), place), [Want(kind, place)]
    if kind == "time":
        place = places.any_time_place(rng)
        return fill(rng, say(rng, kind), place), [Want(kind, place)]
    if kind == "both":
        place = places.either_place(rng)
        return fill(rng, say(rng, "combined", kind), place), [Want("weather", place), Want("time", place)]
    if kind == "both_split":
        place, zone_place = places.any_place(rng), places.any_time_place(rng)
        return fill(rng, say(rng, "combined", kind), place, zone_place=zone_place), [
            Want("weather", place),
            Want("time", zone_place),
        ]
    if kind == "three_weathers":
        place, other, third = (places.any_place(rng) for _ in range(3))
        return fill(rng, say(rng, "combined", kind), place, other, third=third), [
            Want("weather", p) for p in (place, other, third)
        ]
    draw = places.any_place if kind == "two_weathers" else places.any_time_place
    what: What = "weather" if kind == "two_weathers" else "time"
    place, other = draw(rng), draw(rng)
    return fill(rng, say(rng, "combined", kind), place, other), [Want(what, place), Want(what, other)]


def _follow_up(rng: Random, context: Context) -> tuple[str, list[Want]] | None:
    """A question that leans on the one before, where the context allows the kind drawn."""
    kind = rng.choices(list(FOLLOW_UPS), list(FOLLOW_UPS.values()))[0]
    if kind == "again" and context.wants:
        return say(rng, "follow_up", "again"), context.wants
    if kind == "new_place" and context.kinds:
        place = places.any_time_place(rng) if context.kinds == ["time"] else places.either_place(rng)
        return fill(rng, say(rng, "follow_up", kind), place), [Want(what, place) for what in context.kinds]
    if context.place is None:
        return None
    if kind == "umbrella_there":
        return say(rng, "umbrella", "follow_up"), [Want("umbrella", context.place)]
    if kind in ("time_there", "weather_there"):
        what: What = "time" if kind == "time_there" else "weather"
        phrasing = say(rng, what, "no_place") if rng.random() < 0.25 else say(rng, "follow_up", kind)
        return phrasing, [Want(what, context.place)]
    return None


def turns(rng: Random, skill: Skill) -> list[Turn]:
    """A conversation of one to seven turns."""
    said: list[Turn] = []
    context = Context()
    for _ in range(rng.choices([1, 2, 3, 4, 5, 6, 7], [46, 27, 14, 7, 3, 2, 1])[0]):
        asked = _follow_up(rng, context) if context.kinds and rng.random() < 0.55 else None
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        if asked is None and kind in ("small_talk", "off_topic"):
            said.append(small_talk(rng) if kind == "small_talk" else off_topic(rng))
            continue
        if asked is None and kind == "no_place":
            if context.wants or context.kinds:
                continue
            what: What = rng.choice(["weather", "time"])
            said.append(Turn(say(rng, what, "no_place"), WHICH_PLACE))
            context = Context(kinds=[what])
            continue
        user, wants = asked or _question(rng, kind)
        said.append(looked_up(rng, user, wants, skill))
        context = Context.of(wants)
    return said or [off_topic(rng)]
