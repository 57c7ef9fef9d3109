"""Define every error of the product in one tree. The messages are part of the interface.

GenaiError
├── ModelFileError        a models/*.yaml is wrong: file, line, field, remedy
├── SuiteError            an evaluation suite is wrong (evaluation/suite.py)
├── Unavailable           something outside did not answer; trying again may help
│   ├── HubUnavailable
│   │   └── RateLimited   the hub asks its callers to wait
│   ├── StoreUnavailable
│   ├── ClusterUnavailable
│   ├── EngineUnavailable
│   │   ├── EngineBroken  the engine itself answered with an error
│   │   └── NotMeasured   a metric has no value that can be true, such as NaN
│   ├── AgentUnavailable
│   └── WebhookUnavailable
├── Refused               the answer was no; trying again without a change will not help
│   ├── RepositoryNotFound
│   ├── RevisionNotFound
│   ├── AccessDenied
│   ├── UnsafeFormat
│   ├── UnsafePath
│   ├── UnknownKind       the cluster lacks the operator that brings a kind
│   ├── FieldConflict     another field manager owns a field that is to be applied
│   ├── ReleaseRefused    the interlock of m/live
│   ├── WrongSetting      an environment variable has a value that is not allowed
│   └── Superseded        a newer release took this one's place
├── StagingError
│   ├── ChecksumMismatch
│   └── IncompleteModel   a shard that the index names is missing
├── StoreConflict         another process wrote the same key first
│   └── AlreadyExists
├── Unreadable            a record in the store is damaged, or a newer version wrote it
├── NotFound              no such key, object or release
├── NotReady              a wait ended with a diagnosis
└── NotEnoughData         too few observations to judge; the verdict is inconclusive

A message says what happened, to what, what is allowed, and what to do. `Unavailable`, `NotReady` and `NotEnoughData`
make a verdict inconclusive; `Refused` makes it failed.
"""

from __future__ import annotations


class GenaiError(Exception):
    """Base of the tree.

    Args:
        what: what happened, and to what; one or more sentences.
        remedy: what the user can do; it is appended to the message.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} {remedy}".strip())


class ModelFileError(GenaiError):
    """A model file is wrong. One error stands for one file; `problems` holds one line per mistake."""

    def __init__(self, path: str, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(problems))


class Unavailable(GenaiError):
    """An outside system did not answer, or answered that it cannot answer now."""


class HubUnavailable(Unavailable):
    """The model hub did not answer (down, 429, 5xx)."""


class RateLimited(HubUnavailable):
    """The hub answered 429. Args: wait_s: seconds that it asks to wait; None: it does not say."""

    def __init__(self, what: str, remedy: str = "", wait_s: float | None = None) -> None:
        self.wait_s = wait_s
        super().__init__(what, remedy)


class StoreUnavailable(Unavailable):
    """The object store did not answer."""


class ClusterUnavailable(Unavailable):
    """The cluster's API did not answer."""


class EngineUnavailable(Unavailable):
    """An inference endpoint did not answer, or answered 5xx."""


class NotMeasured(EngineUnavailable):
    """A metric has a value that no count and no share can have: NaN, infinite or negative."""


class EngineBroken(EngineUnavailable):
    """The engine itself answered with an error, for example 500."""


class AgentUnavailable(Unavailable):
    """An agent endpoint did not answer, or answered 5xx."""


class WebhookUnavailable(Unavailable):
    """The webhook for notices did not accept a notice now. Messages never contain its address."""


class Refused(GenaiError):
    """A request was refused. Only a change of the input helps."""


class RepositoryNotFound(Refused):
    """The hub has no such repository, or hides it from this token."""


class RevisionNotFound(Refused):
    """The repository has no such ref or revision."""


class AccessDenied(Refused):
    """The repository is gated or private, and the token is missing or not allowed."""


class UnsafeFormat(Refused):
    """The weights can run code when they are loaded (pickle), or their content does not match their name."""


class UnsafePath(Refused):
    """A path would leave the staged prefix, or some clients would read another file under it."""


class UnknownKind(Refused):
    """The cluster does not know a kind, because its operator or CRD is not installed."""


class FieldConflict(Refused):
    """Another field manager owns a field that is to be applied with another value."""


class ReleaseRefused(Refused):
    """The interlock of `m/live`: a release gets traffic only when its record proves that every check passed."""


class WrongSetting(Refused):
    """A setting has a value that is not allowed; the message names the variable, the value and what is allowed."""


class Superseded(Refused):
    """A newer release took the place of this one."""


class StagingError(GenaiError):
    """A model could not be staged whole and verified."""


class ChecksumMismatch(StagingError):
    """The received bytes do not have the digest that their source publishes."""

    def __init__(self, path: str, expected: str, actual: str) -> None:
        super().__init__(
            f"{path}: the received bytes have the digest {actual}, but the source publishes {expected}.",
            "Nothing was staged. Run it again. If it happens again, set another `source.ref` in the model file.",
        )


class IncompleteModel(StagingError):
    """The model's index names a file that the revision does not have."""


class StoreConflict(GenaiError):
    """A conditional write failed, because another process wrote the key first."""


class AlreadyExists(StoreConflict):
    """`put_new` found that the key exists."""


class Unreadable(GenaiError):
    """A record or a pointer cannot be read. Its content is unknown, so no decision is taken from it."""

    def __init__(self, key: str, why: Exception) -> None:
        super().__init__(
            f"{key} cannot be read ({type(why).__name__}): it is damaged, or a newer version wrote it.",
            "Restore an older version of the object, or delete it: the next rollout writes a record again.",
        )


class NotFound(GenaiError):
    """A key, an object or a release does not exist."""


class NotReady(GenaiError):
    """A wait ended before its condition was true. The message is the diagnosis."""


class NotEnoughData(GenaiError):
    """There are too few observations to judge."""
