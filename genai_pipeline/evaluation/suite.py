"""What suites of all kinds have: cases with names, tags and weights. The files are in `suites/`."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, field_validator

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.spec_section import Section
from genai_pipeline.core.text_form import CASE_NAME, SUITE_NAME

MOST_RUNS = 100

Text = Annotated[str, Field(min_length=1)]
Runs = Annotated[int, Field(ge=1, le=MOST_RUNS, strict=True)]
Weight = Annotated[float, Field(ge=0.001, le=1_000, strict=True)]
"""Bounded, so that no case decides alone and no sum overflows. Strict, because YAML's `yes` is not a number."""
Choice = Annotated[tuple[Text, ...], Field(min_length=1)]


class SuiteError(GenaiError):
    """A suite file is wrong; `problems` holds a line per mistake."""

    def __init__(self, path: str, problems: list[str]) -> None:
        self.path, self.problems = path, problems
        super().__init__("\n".join(problems))


class ExpectedWords(Section):
    """What an answer must say.

    Args:
        says: of each group, the answer must hold at least one phrase, letter case aside.
        never: phrases that no answer may hold.
    """

    says: tuple[Choice, ...] = ()
    never: tuple[Text, ...] = ()

    @field_validator("says", mode="before")
    @classmethod
    def _groups(cls, says: Any) -> Any:
        return [listed(group) for group in says] if isinstance(says, list) else says


class SuiteCase(Section):
    """One conversation.

    Args:
        weight: how much it counts in the pass rate; a usual case has 1.
        repeat: runs of it; None: as the suite says.
    """

    name: Annotated[str, CASE_NAME]
    tags: tuple[Text, ...] = Field(min_length=1)
    weight: Weight = 1.0
    repeat: Runs | None = None


Case = TypeVar("Case", bound=SuiteCase)


class Suite(Section, Generic[Case]):
    """A named set of cases; `repeat` is how often each of them is run."""

    name: Annotated[str, SUITE_NAME]
    repeat: Runs = 1
    cases: tuple[Case, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """Hex sha256 of what is asked and what is right, without how often and with what weight."""
        raise NotImplementedError

    def runs_of(self, case: Case, repeat: int | None = None) -> int:
        """Return how often a case is run; `repeat`, where given, goes before what the suite says."""
        return repeat or case.repeat or self.repeat


def listed(value: Any) -> Any:
    """Return a single value as a list of one."""
    return value if isinstance(value, list) else [value]
