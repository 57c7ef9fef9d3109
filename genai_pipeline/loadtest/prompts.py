"""The prompts of the load test: of different length, and different from each other from the first word.

Prompts with the same beginning would be answered from the prefix cache, and the time to the first token would be that
of the cache.
"""

from __future__ import annotations

OPENINGS = (
    "Explain in plain words",
    "List what a beginner should know about",
    "Write a short story around",
    "Compare two ways of thinking about",
    "Summarise the history of",
    "What would you ask an expert on",
    "Describe a day in the life of a person who works with",
    "Give three surprising facts about",
)
SUBJECTS = (
    "the tides",
    "bread that rises overnight",
    "railway timetables",
    "the weather over mountains",
    "maps drawn before satellites",
    "a lighthouse in winter",
    "clocks and time zones",
    "bees in a city",
    "bridges that move",
)
DETAILS = (
    "Keep it friendly.",
    "The reader is twelve years old and has never heard of it before.",
    "Start with an example from daily life, then say why it matters, and end with an open question.",
    "Mention at least one number and one name, and say how sure you are of each of them.",
    "Avoid technical words; where one cannot be avoided, explain it in half a sentence.",
)


def prompt(number: int) -> str:
    """Return the prompt with that number: always the same, with 10 to about 70 words."""
    opening = OPENINGS[number % len(OPENINGS)]
    subject = SUBJECTS[number % len(SUBJECTS)]
    details = DETAILS[: number % (len(DETAILS) + 1)]
    return " ".join((f"{number}. {opening} {subject}.", *details))
