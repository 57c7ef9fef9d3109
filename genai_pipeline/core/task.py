"""What a model is for: the task that its endpoint answers."""

from enum import StrEnum


class Task(StrEnum):
    """The task of a model, named by what clients ask. Source: vLLM documentation, "OpenAI-Compatible Server"."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBED = "embed"
    SCORE = "score"

    @property
    def generates(self) -> bool:
        """Return whether the model generates tokens; else it reads its input once and pools it."""
        return self in (Task.CHAT, Task.COMPLETION)
