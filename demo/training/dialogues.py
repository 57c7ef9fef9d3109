"""Whole training conversations: a system prompt, tools, turns; or plain chat without tools."""

from functools import cache
from random import Random

from demo.training import places
from demo.training.conversation import TIME_TOOL, WEATHER_TOOL, Dialogue, Turn
from demo.training.grammar import FOLDER, read_yaml
from demo.training.turns import Skill, fill, off_topic, small_talk, turns
from demo.training.voice import dress, say

WITHOUT_TOOLS = 0.09


@cache
def _prompts() -> dict:
    return read_yaml(FOLDER / "system_prompts.yaml")


@cache
def _plain_chat() -> tuple[dict, list[tuple[str, str]]]:
    data = read_yaml(FOLDER / "phrasings" / "plain_chat.yaml")
    return data, [(question, answer) for answer, questions in data["answers"] for question in questions]


def default_system_prompt() -> str:
    """The agent's own prompt."""
    return _prompts()["default"]


def _system(rng: Random) -> str | None:
    roll = rng.random()
    if roll < 0.6:
        return default_system_prompt()
    return rng.choice(_prompts()["others"]) if roll < 0.9 else None


def _tools(rng: Random) -> list[tuple[str, list[str]]]:
    """The two tools in any order, sometimes with strangers among them."""
    tools = [(name, [parameter]) for name, parameter in (TIME_TOOL, WEATHER_TOOL)]
    rng.shuffle(tools)
    for _ in range(rng.choice([1, 1, 2, 3]) if rng.random() < 0.12 else 0):
        name = "_".join(places.word(rng) for _ in range(rng.randint(1, 3)))
        tools.insert(rng.randint(0, len(tools)), (name, [places.word(rng) for _ in range(rng.randint(0, 3))]))
    return tools


def _plain_turn(rng: Random) -> Turn:
    """A turn of a chat without tools."""
    texts, questions = _plain_chat()
    roll = rng.random()
    if roll < 0.35:
        return small_talk(rng)
    if roll < 0.63:
        question, answer = rng.choice(questions)
        return Turn(dress(rng, lambda: question, surround=False), answer)
    if roll < 0.83:
        what, draw = rng.choice([("weather", places.any_place), ("time", places.any_time_place)])
        place = draw(rng)
        return Turn(fill(rng, say(rng, what), place), texts[f"no_{what}"].replace("{place}", place.location))
    if roll < 0.87:
        return Turn(say(rng, rng.choice(["weather", "time"]), "no_place"), texts["no_facts"])
    turn = off_topic(rng)
    known = {question.strip("?.! ") for question, _ in questions}
    return _plain_turn(rng) if turn.user.lower().strip("?.! ") in known else Turn(turn.user, texts["unknown"])


def dialogue(rng: Random, skill: Skill) -> Dialogue:
    """Draw one conversation."""
    system = _system(rng)
    if rng.random() < WITHOUT_TOOLS:
        system = system if rng.random() < 0.5 else None
        return Dialogue(system, [], [_plain_turn(rng) for _ in range(rng.choice([1, 1, 2, 3]))])
    return Dialogue(system, _tools(rng), turns(rng, skill))
