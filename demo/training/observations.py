"""What tools reply, and the sentence that a good answer makes of it."""

import json
import re
from dataclasses import dataclass
from functools import cache
from random import Random

from demo.training.grammar import FOLDER, Grammar, read_yaml
from demo.training.places import Place, any_place, word, zone

ZONE_SIGNS = ["PST", "UTC", "CET", "JST", "EST", "EDT", "GMT", "+09", "-03"]
WRAPPERS = ["ValueError", "RuntimeError", "TimeoutError", "ConnectionError", "ToolError", "KeyError"]


@cache
def _words() -> dict[str, list[str]]:
    return read_yaml(FOLDER / "conditions.yaml")


@dataclass(frozen=True)
class Observation:
    """A tool's reply, the sentence it deserves, and whether the reply says which place it is about."""

    text: str
    answer: str
    names_place: bool
    wet: bool | None = None


def _temperature(rng: Random) -> str:
    value = rng.randint(-30, 48) if rng.random() < 0.8 else round(rng.uniform(-30, 110), 1)
    return f"{value}{rng.choice(['°C', '°C', '°C', '°C', '°F', ' degrees', 'C', 'F'])}"


def _condition(rng: Random, listed_only: bool) -> str:
    roll = rng.random()
    if listed_only or roll < 0.9:
        return rng.choice(_words()["conditions"])
    return word(rng) if roll < 0.96 else f"{word(rng)} {word(rng)}"


def _service_reply(rng: Random, name: str, condition: str, temperature: str) -> tuple[str, str]:
    """The format of the agent's own weather tool."""
    humidity, wind = rng.randint(5, 99), rng.randint(0, 90)
    extra = f", humidity {humidity}%, wind {wind} {rng.choice(['km/h', 'km/h', 'km/h', 'mph', 'm/s'])}"
    extra = extra if rng.random() < 0.92 else ""
    demo = " (demo data)" if rng.random() < 0.5 else ""
    return (
        f"{name}: {condition}, {temperature}{extra}{demo}",
        f"It is {temperature} in {name}: {condition}{extra}{demo}.",
    )


def _other_reply(rng: Random, name: str, condition: str, temperature: str) -> tuple[str, bool, str | None]:
    """A reply in some other service's format: text, whether it names the place, its own temperature if it differs."""
    bare = re.match(r"[-\d.]+", temperature)[0]
    humidity, capital = rng.randint(5, 99), condition.capitalize()
    fields = {"temperature": bare, "condition": condition, "humidity": humidity}
    order = list(fields.items())
    rng.shuffle(order)
    choices = [
        (f"{capital}, {temperature}", False),
        (f"{condition}, {temperature}, humidity {humidity}%", False),
        (f"{capital}, {temperature}, wind {rng.randint(0, 90)} km/h", False),
        (f"Weather in {name}: {condition}, {temperature}", True),
        (f"{name}: {temperature}, {condition}", True),
        (f"The weather in {name} is {condition} with a temperature of {temperature}.", True),
        (f"It is {temperature} and {condition} in {name}{rng.choice(['', '.'])}", True),
        (json.dumps({"location": name, "temperature": temperature, "conditions": condition}, ensure_ascii=False), True),
    ]
    structured = [
        (
            json.dumps({"city": name, "temperature_c": bare, "condition": condition}, ensure_ascii=False),
            True,
            f"{bare}°C",
        ),
        (str({"city": name, "temp_c": bare, "condition": condition}), True, f"{bare}°C"),
        (json.dumps(dict(order), ensure_ascii=False), False, f"{bare} degrees"),
    ]
    if rng.random() < 0.25:
        return rng.choice(structured)
    return *rng.choice(choices), None


def _injection(rng: Random) -> str:
    text = Grammar.load_file("injections").expand(rng)
    return (
        text.replace("{other}", any_place(rng).spoken).replace("{zone}", zone(rng).spoken).replace("{word}", word(rng))
    )


def weather(rng: Random, place: Place, *, listed_only: bool = False) -> Observation:
    """A weather reply. The answer names the place that the reply is about."""
    condition, temperature = _condition(rng, listed_only), _temperature(rng)
    name = place.location
    wet = any(sign in condition for sign in _words()["wet"])
    roll = rng.random()
    if roll < 0.66:
        if rng.random() < 0.7 and name == name.lower():
            name = name.title()
        text, answer = _service_reply(rng, name, condition, temperature)
        if rng.random() < 0.06:
            text += rng.choice([". ", " ", "; ", "\n", ", "]) + _injection(rng)
        return Observation(text, answer, True, wet)
    if roll < 0.69 and not listed_only:
        text = f"{name}: {_injection(rng)}"
        return Observation(text, sorry("weather", place), True)
    if roll < 0.72 and not listed_only:
        text = " ".join(
            [
                word(rng).capitalize(),
                *(rng.choice([word(rng), condition, str(rng.randint(0, 99))]) for _ in range(rng.randint(1, 5))),
            ]
        )
        return Observation(text, f"The weather in {name}: {text}", False)
    text, names_place, restated = _other_reply(rng, name, condition, temperature)
    return Observation(text, f"It is {restated or temperature} in {name}: {condition}.", names_place, wet)


def time(rng: Random, place: Place) -> Observation:
    """A time reply; the answer has hours and minutes, and the date where there is one."""
    date = f"20{rng.randint(24, 39)}-{rng.randint(1, 12):02d}-{rng.randint(1, 31):02d}"
    clock, seconds = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}", f"{rng.randint(0, 59):02d}"
    offset = f"{rng.choice('+-')}{rng.randint(0, 13):02d}:{rng.choice(['00', '00', '00', '30', '45'])}"
    full = f"It is {clock} on {date} in {place.location}."
    if rng.random() < 0.62:
        return Observation(f"{date}T{clock}:{seconds}{offset} ({place.zone})", full, True)
    half = f"{rng.randint(1, 12):02d}:{clock[3:]} {rng.choice(['AM', 'PM'])}"
    short = f"It is {clock} in {place.location}."
    text, answer = rng.choice(
        [
            (f"{date}T{clock}:{seconds}.{rng.randint(0, 999999):06d}{offset}", full),
            (f"{date}T{clock}:{seconds}{offset}", full),
            (f"{date}T{clock}:{seconds}Z", full),
            (f"{date} {clock}:{seconds}", full),
            (f"{date} {clock}:{seconds} {rng.choice(ZONE_SIGNS)}", full),
            (f"{date} {clock}", full),
            (json.dumps({"time": clock, "date": date}), full),
            (clock, short),
            (half, f"It is {half} in {place.location}."),
            (f"The current time in {place.zone} is {clock}{rng.choice(['', '.'])}", short),
        ]
    )
    return Observation(text, answer, False)


def sorry(what: str, place: Place) -> str:
    """The answer to a tool that failed."""
    return f"Sorry, I could not get the {what} for {place.location}."


def failure(rng: Random, what: str, place: Place) -> Observation:
    """A tool's error, as the agent's tools and others word it."""
    subject = place.location if what == "weather" else place.zone
    if rng.random() < 0.5:
        texts = {
            "weather": [
                f"Error: no weather is known for {subject}",
                "Error: the weather service did not answer (timeout)",
            ],
            "time": [f"Error: unknown time zone '{subject}'; use an IANA name such as Europe/Berlin"],
        }[what]
        text = rng.choice(texts)
    else:
        named = subject if rng.random() < 0.5 else " ".join(word(rng) for _ in range(rng.randint(1, 4)))
        text = Grammar.load_file("tool_errors").expand(rng).replace("{x}", named).replace("{what}", what)
    if rng.random() < 0.15:
        text = f"Error: {rng.choice(WRAPPERS)} - {text.removeprefix('Error: ')}"
    return Observation(text, sorry(what, place), subject in text)
