"""The interface of one OpenAI-compatible endpoint."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.compile_cache import Restored
from genai_pipeline.core.errors import NotFound, Refused
from genai_pipeline.core.task import Task

Message = Mapping[str, Any]
Tool = Mapping[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """A parsed tool call. `arguments` is None where the engine's text was not a JSON object."""

    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True)
class Completion:
    """A finished answer. Tokens as the engine counts them.

    Args:
        reasoning: what the model thought before it answered, or an empty text where the engine has no reasoning parser.
    """

    model: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    reasoning: str = ""

    @property
    def said(self) -> str:
        """Return what there is to show."""
        return self.text

    @property
    def fault(self) -> str:
        """Return why this is no answer, or an empty text where it is one. Thoughts and tool calls count, too."""
        if self.completion_tokens > 0 and (self.text.strip() or self.reasoning.strip() or self.tool_calls):
            return ""
        return f"the completion is empty ({self.completion_tokens} tokens, {self.finish_reason})"


@dataclass(frozen=True)
class Embedding:
    """The vector of one text. NaN stands for anything else than a number."""

    model: str
    vector: tuple[float, ...]
    prompt_tokens: int
    completion_tokens: int = 0

    @property
    def said(self) -> str:
        """Return what there is to show."""
        return f"{len(self.vector)} numbers"

    @property
    def fault(self) -> str:
        """Return why this is no answer, or an empty text where it is one: finite numbers that are not all zero."""
        wrong = sum(not math.isfinite(number) for number in self.vector)
        if wrong:
            return f"{wrong} of the {len(self.vector)} numbers of the embedding are not finite"
        return "" if any(self.vector) else f"the embedding has {len(self.vector)} numbers, and none but 0"


@dataclass(frozen=True)
class Score:
    """How well a document fits a query. NaN stands for anything else than a number."""

    model: str
    value: float
    prompt_tokens: int
    completion_tokens: int = 0

    @property
    def said(self) -> str:
        """Return what there is to show."""
        return f"score {self.value:.4g}"

    @property
    def fault(self) -> str:
        """Return why this is no answer, or an empty text where it is one."""
        return "" if math.isfinite(self.value) else f"the score is {self.value}, which is not finite"


Answer = Completion | Embedding | Score


@dataclass(frozen=True)
class DrainStatus:
    """What a replica answers when it is asked to close its connections.

    Args:
        pod: name of the replica that answered.
        drained: no request runs, and no kept connection is left that a stop would cut.
        running: the requests that run, each with path, the client's own request id and age.
    """

    pod: str
    drained: bool
    running: tuple[str, ...]


class StandbyDoor(ABC):
    """An engine that may sleep. Only the pipeline's token opens this door.

    Every method raises EngineUnavailable (no answer in time, or an error) or NotFound (the engine does not know the
    token). Each one may be repeated.
    """

    @abstractmethod
    def is_sleeping(self) -> bool:
        """Return whether it turns users away: from `sleep` on until `open`."""

    @abstractmethod
    def known_answer(self, model: str) -> str:
        """Return what it answers to a short fixed prompt at temperature 0, also while it turns users away."""

    @abstractmethod
    def sleep(self, within_s: float) -> None:
        """Turn users away, and move the weights to the host's memory. What runs is aborted."""

    @abstractmethod
    def wake_up(self, within_s: float) -> None:
        """Move the weights back. Users are still turned away."""

    @abstractmethod
    def open(self) -> None:
        """Let users in again."""


@dataclass(frozen=True)
class PulledCache:
    """What came with the archive of what an engine compiled.

    Args:
        made_with: the versions that made it.
        nothing: why there is no archive, or an empty text where it came.
    """

    made_with: Mapping[str, str]
    nothing: str = ""


class Inference(ABC):
    """One endpoint. Methods raise EngineUnavailable (no answer, 5xx) or Refused (4xx), with the engine's own words."""

    base_url: str

    @abstractmethod
    def models(self) -> dict[str, str]:
        """Return the served model names with the address that each was loaded from (`root`)."""

    @abstractmethod
    def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[Tool] = (), max_tokens: int = 64
    ) -> Completion:
        """Return one completion at temperature 0, not streamed."""

    @abstractmethod
    def ask(self, task: Task, model: str, text: str = "Hello", max_tokens: int = 64) -> Answer:
        """Ask the endpoint of a task about one text, not streamed.

        Args:
            max_tokens: most tokens of the answer; only a task that generates has a limit.
        """

    def within(self, deadline_s: float) -> Inference:
        """Return the same endpoint with another deadline for each request, in seconds, and its own connections."""
        return self

    def standby(self, token: str) -> StandbyDoor:
        """Return the door of an engine with `serving.standby: sleep`. Raises: Refused: it has none."""
        raise Refused(f"{self.base_url} cannot sleep.", "Set `serving.standby: sleep` for it.")

    def close(self) -> None:  # noqa: B027
        """Close the connections."""

    def leave(self) -> DrainStatus | None:
        """Ask one replica behind the address to close each connection after its answer.

        Each call is a new connection and may reach another replica. Idempotent. It returns None from an engine that
        does not know how.
        """
        return None

    def restored(self, token: str) -> Restored | None:
        """Return what one pod says about the archive that it started from, or None if it has no such path.

        Args:
            token: of the pipeline. An engine without it, or with another one, has no such path.
        """
        return None

    def pull_compile_cache(self, token: str, sink: Callable[[bytes], object], deadline_s: float) -> PulledCache:
        """Give the sink the archive of what one pod compiled, as it comes.

        Args:
            deadline_s: for all of it.
        Raises: NotFound: it does not know the path. EngineUnavailable: another request packs, or the archive did not
            come whole and in time. Refused: it is too large.
        """
        raise NotFound(f"{self.base_url} has no compile cache to give.", "Its next start compiles again.")
