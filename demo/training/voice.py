"""How people type: greetings, endings, letter case, punctuation, fillers and slips around a phrasing."""

import re
from collections.abc import Callable
from functools import cache
from random import Random

from demo.training.grammar import Grammar
from demo.training.held_out import is_held_out
from demo.training.places import word

QUESTION_WORDS = (
    "what",
    "how",
    "is ",
    "are ",
    "does ",
    "do ",
    "will ",
    "can ",
    "could ",
    "would ",
    "should ",
    "which ",
    "where ",
    "who ",
    "when ",
    "why ",
    "did ",
    "has ",
    "any ",
)


@cache
def _fillers() -> list[str]:
    """Words that may turn up anywhere without changing what is asked for."""
    telling = set().union(*(Grammar.load(subject).words() for subject in ("weather", "time", "combined", "umbrella")))
    shared = Grammar.load("shared").words()
    return sorted(((Grammar.load("off_topic").words() - telling) | shared) - {"in", "for", "at", "of", "and", "or"})


def _with_fillers(rng: Random, text: str) -> str:
    """Drop in, or replace a word by, something unrelated; slots and neighbours of slots stay."""
    words = text.split(" ")
    for _ in range(rng.choice([1, 1, 2, 3])):
        spots = [i for i in range(len(words)) if "{" not in words[i] and (i == 0 or "{" not in words[i - 1])]
        if not spots:
            break
        words.insert(rng.choice(spots), rng.choice(_fillers()) if rng.random() < 0.75 else word(rng))
    return " ".join(words)


def _with_slip(rng: Random, text: str) -> str:
    """Mistype one word of four letters or more."""
    words = text.split(" ")
    spots = [i for i, w in enumerate(words) if len(w) > 3 and w.isalpha()]
    if spots:
        spot = rng.choice(spots)
        typed, at = words[spot], rng.randint(1, len(words[spot]) - 2)
        slip = rng.random()
        if slip < 0.4:
            typed = typed[:at] + typed[at + 1] + typed[at] + typed[at + 2 :]
        elif slip < 0.8:
            typed = typed[:at] + typed[at + 1 :]
        else:
            typed = typed[:at] + typed[at] + typed[at:]
        words[spot] = typed
    return " ".join(words)


def _ended(rng: Random, text: str) -> str:
    """Close the sentence as people do, or not at all."""
    if text[-1] in "?.!":
        return text
    asks = text.lower().startswith(QUESTION_WORDS)
    roll = rng.random()
    if roll < 0.36:
        return text
    if asks:
        return text + ("?" if roll < 0.93 else rng.choice(["??", " ?", ".", "!", "?!"]))
    return text + ("." if roll < 0.72 else "?" if roll < 0.92 else rng.choice(["!", "...", "??", " ?"]))


def _capitalised(text: str) -> str:
    text = re.sub(r"\bi\b(?!})", "I", text)
    return re.sub(r"(^|[.?!] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def _surrounded(rng: Random, text: str) -> str:
    """Words around the phrasing, and now and then within it."""
    shared = Grammar.load("shared")
    if rng.random() < 0.13:
        text = _with_fillers(rng, text)
    if rng.random() < 0.16:
        text = shared.expand(rng, "greeting") + shared.expand_raw(rng, "greeting_end") + text
    if rng.random() < 0.13:
        end = text[-1] if text[-1] in "?.!" else ""
        text = text.removesuffix(end) + shared.expand_raw(rng, "ending") + end
    text = _ended(rng, text)
    if rng.random() < 0.04 and text[-1] in "?.!":
        text += shared.expand_raw(rng, "afterthought")
    return text


def _typed(rng: Random, text: str) -> str:
    """Slips, missing apostrophes and letter case."""
    if rng.random() < 0.05:
        text = _with_slip(rng, text)
    if rng.random() < 0.10:
        text = text.replace("'", "")
    roll = rng.random()
    if roll < 0.27:
        return text.lower()
    if roll < 0.28:
        return re.sub(r"[^{}]+(?![^{]*})", lambda m: m[0].upper(), text)
    return _capitalised(text) if roll < 0.95 else text


def dress(rng: Random, draw: Callable[[], str], *, surround: bool = True) -> str:
    """Draw phrasings until neither the bare nor the typed one is held out; return the typed one."""
    while True:
        phrasing = draw()
        typed = _typed(rng, _surrounded(rng, phrasing) if surround else _ended(rng, phrasing))
        if not is_held_out(phrasing) and not is_held_out(typed):
            return typed


def say(rng: Random, subject: str, symbol: str = "start") -> str:
    """Return a phrasing of the subject as a user would type it, slots open; never a held-out one."""
    return dress(rng, lambda: Grammar.load(subject).expand(rng, symbol))
