"""A suite: conversations, the tool calls they deserve and what a right answer holds. `suites/*.yaml`.

Facts follow from the calls: an answer about a place's weather must give the temperature or the sky of that place as
the suite's `weather` table has them, and one about a time must give that time. Every mistake in a file is reported
by file, line, field and remedy. An entry with `for` stands for many cases (expansion.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from genai_pipeline.core.errors import GenaiError, NotFound
from genai_pipeline.core.yaml_file import YamlFileError, parse_yaml
from genai_pipeline.evaluation.expansion import expand_cases
from genai_pipeline.evaluation.folding import fold

SUITES = Path(__file__).with_name("suites")
WEATHER_TOOL, TIME_TOOL = "get_weather", "get_current_time"
PARAMETERS = {WEATHER_TOOL: "location", TIME_TOOL: "timezone"}

MOST_RUNS = 100
_KIND = re.compile(r"""kind\s*:\s+["']?([\w-]+)""")

Text = Annotated[str, Field(min_length=1)]
Runs = Annotated[int, Field(ge=1, le=MOST_RUNS, strict=True)]
Weight = Annotated[float, Field(ge=0.001, le=1_000, strict=True)]
"""Bounded, so that no case decides alone and no sum overflows; strict, because YAML's `yes` is no number."""
Choice = Annotated[tuple[Text, ...], Field(min_length=1)]
Call = Annotated[dict[str, Choice], Field(min_length=1)]


class SuiteError(GenaiError):
    """A suite file is wrong; `problems` holds a line per mistake."""

    def __init__(self, path: str, problems: list[str]) -> None:
        self.path, self.problems = path, problems
        super().__init__("\n".join(problems))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weather(_Section):
    """What the weather service says about a place."""

    sky: Text
    celsius: Annotated[int, Field(strict=True)]


class ExpectedTurn(_Section):
    """One prompt and what it deserves.

    Args:
        calls: tool -> argument, in any order; a list of arguments is a choice.
        may_call: calls that are neither needed nor wrong, such as one that can only fail.
        says: of each group, the answer must hold at least one phrase, letter case aside.
        never: phrases that no answer may hold.
        rubric: what a judge model is asked about the answer, where one is configured; nothing else looks at it.
    """

    ask: Text
    calls: tuple[Call, ...] = ()
    may_call: tuple[Call, ...] = ()
    says: tuple[Choice, ...] = ()
    never: tuple[Text, ...] = ()
    rubric: Text | None = None

    @field_validator("calls", "may_call", mode="before")
    @classmethod
    def _choices(cls, calls: Any) -> Any:
        if not isinstance(calls, list):
            return calls
        return [{t: _listed(arg) for t, arg in call.items()} if isinstance(call, dict) else call for call in calls]

    @field_validator("calls", "may_call")
    @classmethod
    def _known_tools(cls, calls: tuple[Call, ...]) -> tuple[Call, ...]:
        if unknown := [tool for call in calls for tool in call if tool not in PARAMETERS]:
            raise ValueError(f"no tool is called {unknown[0]!r}; there are {' and '.join(PARAMETERS)}")
        return calls

    @field_validator("calls")
    @classmethod
    def _known_zones(cls, calls: tuple[Call, ...]) -> tuple[Call, ...]:
        zones = [zone for call in calls for zone in call.get(TIME_TOOL, ())]
        if unknown := [zone for zone in zones if zone not in available_timezones()]:
            raise ValueError(f"{unknown[0]!r} is not an IANA time zone, so its time is not known")
        return calls

    @field_validator("says", mode="before")
    @classmethod
    def _groups(cls, says: Any) -> Any:
        return [_listed(group) for group in says] if isinstance(says, list) else says

    @property
    def expected(self) -> list[tuple[str, tuple[str, ...]]]:
        """(tool, accepted arguments) of every call."""
        return [item for call in self.calls for item in call.items()]

    @property
    def tolerated(self) -> list[tuple[str, str]]:
        return [(tool, choice) for call in self.may_call for tool, choices in call.items() for choice in choices]

    def arguments_of(self, tool: str) -> list[tuple[str, ...]]:
        return [choices for name, choices in self.expected if name == tool]


class SuiteCase(_Section):
    """One conversation, in a session of its own.

    Args:
        weight: how much it counts in the pass rate; a usual case has 1.
        repeat: runs of it; None: as often as the suite's cases.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    tags: tuple[Text, ...] = Field(min_length=1)
    turns: tuple[ExpectedTurn, ...] = Field(min_length=1)
    weight: Weight = 1.0
    repeat: Runs | None = None


class Isolation(_Section):
    """Sessions side by side, each about a place of its own: none may hear of another one's.

    Args:
        ask: the first turn; `{place}` is the session's place.
        follow_up: leaves the place out, so that only the session's own history can tell it.
        places: rare ones, which no model comes up with by itself.
    """

    ask: Annotated[str, Field(pattern=r"\{place\}")]
    follow_up: Text
    places: tuple[Text, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _apart(self) -> Isolation:
        names = sorted(map(fold, self.places), key=len)
        if within := next((a for i, a in enumerate(names) if any(a in b for b in names[i + 1 :])), None):
            raise ValueError(f"a place is named twice, or is part of another one's name: {within}")
        if "{place}" in self.follow_up:
            raise ValueError("`follow_up` names the place; then it needs no memory")
        return self


class Suite(_Section):
    """A named set of cases, and the weather they are judged by. `repeat` is how often each case is run."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    repeat: Runs = 1
    weather: dict[str, Weather] = Field(default_factory=dict)
    isolation: Isolation
    cases: tuple[SuiteCase, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """Hex sha256 of what is asked and what is right. How often and how much it counts is no part of it."""
        cases = [case.model_dump(mode="json", exclude={"tags", "weight", "repeat"}) for case in self.cases]
        weather = {place: weather.model_dump() for place, weather in self.weather.items()}
        canonical = json.dumps([self.name, weather, cases], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def runs_of(self, case: SuiteCase, repeat: int | None = None) -> int:
        """How often a case is run; `repeat` is asked for by whoever evaluates and wins."""
        return repeat or case.repeat or self.repeat


def kind_of(path: Path) -> str:
    """What a suite's file says after `kind:`; empty for a suite for agents, or where nothing can be read."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            found = (_KIND.match(line) for line in lines)
            return next((kind[1] for kind in found if kind), "")
    except (OSError, UnicodeDecodeError):
        return ""


def load_suite(name: str, folder: Path = SUITES) -> Suite:
    """The suite called `name`, or in the file `name` where that ends in .yaml.

    Raises: NotFound: there is no such suite. SuiteError: its file is wrong.
    """
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    known = sorted(p.stem for p in folder.glob("*.yaml") if not kind_of(p))
    if path.parent == folder and name not in known:
        raise NotFound(
            f"There is no suite {name!r}.", f"It may be: {', '.join(known)}, or the path of a file of yours (….yaml)."
        )
    try:
        return parse_suite(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{path} cannot be read ({error}).", "Name a suite's file, in UTF-8.") from error


def parse_suite(text: str, path: str) -> Suite:
    """Parse one suite. Raises: SuiteError: with one line per mistake."""
    try:
        return parse_yaml(text, path, Suite, "a suite", prepare=expand_cases)
    except YamlFileError as error:
        raise SuiteError(path, error.problems) from error


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]
