"""Every error this product raises, in one tree. The messages are part of the interface.

GenaiError
├── ModelFileError        a models/*.yaml is wrong: file, line, field, remedy
├── SuiteError            an evaluation suite is wrong (evaluation/suite.py)
├── Unavailable           something outside did not answer; trying again may help
│   ├── HubUnavailable
│   ├── StoreUnavailable
│   ├── ClusterUnavailable
│   ├── EngineUnavailable
│   │   └── EngineBroken  it answered, and with an error of its own
│   ├── AgentUnavailable
│   └── WebhookUnavailable
├── Refused               the answer was no; trying again without a change will not help
│   ├── RepositoryNotFound
│   ├── RevisionNotFound
│   ├── AccessDenied
│   ├── UnsafeFormat
│   ├── UnsafePath
│   ├── UnknownKind       the cluster lacks the operator that brings a kind
│   ├── ReleaseRefused    the interlock of m/live
│   └── Superseded        a newer release took this one's place
├── StagingError
│   ├── ChecksumMismatch
│   └── IncompleteModel   a shard that the index names is missing
├── StoreConflict         somebody wrote the same key first
│   └── AlreadyExists
├── Unreadable            an object of ours in the store is damaged, or from a newer version of this
├── NotFound              no such key, object or release
├── NotReady              a wait ended with a diagnosis
└── NotEnoughData         too few observations to judge; the verdict is inconclusive

A message says what happened, to what, and what to do. `Unavailable`, `NotReady` and `NotEnoughData`
make a verdict inconclusive; `Refused` makes it failed.
"""

from __future__ import annotations


class GenaiError(Exception):
    """Base of the tree. `remedy` is appended to the message, so that no error leaves without one."""

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} {remedy}".strip())


class ModelFileError(GenaiError):
    """A model file is wrong. One per file; `problems` holds a line per mistake."""

    def __init__(self, path: str, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(problems))


class Unavailable(GenaiError):
    """Something outside did not answer, or answered that it cannot now."""


class HubUnavailable(Unavailable):
    """The model hub did not answer (down, 429, 5xx)."""


class StoreUnavailable(Unavailable):
    """The object store did not answer."""


class ClusterUnavailable(Unavailable):
    """The cluster's API did not answer."""


class EngineUnavailable(Unavailable):
    """An inference endpoint did not answer, or answered 5xx."""


class EngineBroken(EngineUnavailable):
    """An inference endpoint answered with an error that only it can have given, as 500."""


class AgentUnavailable(Unavailable):
    """An agent endpoint did not answer, or answered 5xx."""


class WebhookUnavailable(Unavailable):
    """The webhook that notices go to did not answer, or not now. Its address is in no message."""


class Refused(GenaiError):
    """The answer was no; only a change of the input helps."""


class RepositoryNotFound(Refused):
    """The hub has no such repository, or hides it from this token."""


class RevisionNotFound(Refused):
    """The repository has no such ref or revision."""


class AccessDenied(Refused):
    """Gated or private, and the token is missing or not allowed."""


class UnsafeFormat(Refused):
    """Weights that can run code when they are loaded (pickle), or that are not what their name says."""


class UnsafePath(Refused):
    """A path that would leave the staged prefix, or that not everybody reads back as the same file."""


class UnknownKind(Refused):
    """The cluster has no such kind: the operator or CRD that brings it is not installed."""


class ReleaseRefused(Refused):
    """The interlock: a release whose record is not all passed does not get traffic."""


class Superseded(Refused):
    """A newer release took the place of the one in hand."""


class StagingError(GenaiError):
    """A model could not be brought into the store whole and verified."""


class ChecksumMismatch(StagingError):
    """The bytes that came are not the bytes that their source publishes."""

    def __init__(self, path: str, expected: str, actual: str) -> None:
        super().__init__(
            f"{path}: got digest {actual}, its source publishes {expected}.",
            "Nothing was staged. Rerun; if it repeats, pin another `source.ref` in the model file.",
        )


class IncompleteModel(StagingError):
    """A file that the model's index names is not in the revision."""


class StoreConflict(GenaiError):
    """A conditional write lost: somebody else wrote the key first."""


class AlreadyExists(StoreConflict):
    """`put_new` found the key taken."""


class Unreadable(GenaiError):
    """A record or a pointer that cannot be read; what it said is not known, and nothing is concluded from it."""

    def __init__(self, key: str, why: Exception) -> None:
        super().__init__(
            f"{key} cannot be read ({type(why).__name__}): it is damaged, or a newer version wrote it.",
            "Put back what it was, from an older version of the object, or delete it: a record is made again.",
        )


class NotFound(GenaiError):
    """No such key, object or release."""


class NotReady(GenaiError):
    """A wait ended before its condition held; the message is the diagnosis."""


class NotEnoughData(GenaiError):
    """Too few observations to judge."""
