"""What the API server's answers mean: which are worth another try, and which error the others are. Pure.

Source: Kubernetes documentation, "API conventions", status kinds and codes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.core.errors import AccessDenied, ClusterUnavailable, GenaiError, NotFound, Refused, UnknownKind

AGAIN = frozenset({429, 500, 502, 503, 504})
ROLE = "genai-pipeline"


@dataclass(frozen=True)
class Request:
    """What was asked, in the words of a Role: verb, resource, and where."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{' ' + self.name if self.name else ''}{where}"


@dataclass(frozen=True)
class Answer:
    """An answer of the API server, read whole. `content` is parsed JSON, or text where it is none."""

    status: int
    content: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        if isinstance(self.content, Mapping):
            return str(self.content.get("message") or self.content.get("reason") or "")
        return str(self.content)[:500].strip()

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        details = self.content.get("details") if isinstance(self.content, Mapping) else None
        return (details or {}).get("causes") or []

    @property
    def reason(self) -> str:
        return str(self.content.get("reason") or "") if isinstance(self.content, Mapping) else ""


def parsed(body: bytes) -> Any:
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def worth_another_try(answer: Answer) -> bool:
    """Whether the same request may be answered otherwise in a moment. All of ours are idempotent."""
    if answer.status == 409:
        # A conflict of field managers stays one; a lost race with another writer does not.
        return not answer.causes and answer.reason in ("Conflict", "AlreadyExists", "")
    return answer.status in AGAIN and not _malformed(answer)


def retry_after_s(answer: Answer) -> float | None:
    """Seconds that the server asks us to wait, None where it does not say."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def error_of(answer: Answer, request: Request) -> GenaiError:
    """The error of our tree for an answer that no further try will change."""
    if answer.status == 401:
        return AccessDenied(
            f"The cluster does not accept our credentials ({request}).", "Renew those of the kubeconfig and run again."
        )
    if answer.status == 403:
        return _forbidden(answer, request)
    if answer.status == 404:
        return _not_found(answer, request)
    if answer.status in (400, 405, 409, 413, 415, 422) or _malformed(answer):
        fields = [f"{c['field']}: {c.get('message', '')}" for c in answer.causes if c.get("field")]
        return Refused(f"The cluster refused to {request}: {answer.message}.", _what_to_do(fields))
    return ClusterUnavailable(
        f"The cluster's API answered {answer.status} to {request}: {answer.message}.", "Try again later."
    )


def _what_to_do(fields: list[str]) -> str:
    return f"Correct {'; '.join(fields)}." if fields else "Correct the manifest and apply it again."


def _malformed(answer: Answer) -> bool:
    """A field of a wrong type or name comes as a 500 from server-side apply."""
    return answer.status == 500 and "failed to create typed patch object" in answer.message


def _forbidden(answer: Answer, request: Request) -> Refused:
    if "cannot " in answer.message:
        where = f"in namespace {request.namespace}" if request.namespace else "in the whole cluster"
        return AccessDenied(
            f"We may not {request.verb} {request.resource} {where}: {answer.message}.",
            f"Ask for Role {ROLE}, which grants it, or add the verb {request.verb!r} on {request.resource!r}.",
        )
    return Refused(f"The cluster refused to {request}: {answer.message}.", "Change what the message names.")


def _not_found(answer: Answer, request: Request) -> GenaiError:
    if answer.reason != "NotFound":
        return UnknownKind(
            f"The cluster does not know {request.resource}.", "Install the operator or CRD that brings this kind."
        )
    if "namespaces" in answer.message and request.resource != "namespaces":
        return NotFound(f"There is no namespace {request.namespace}.", "Apply the Namespace first.")
    return NotFound(f"There is no {request.resource} {request.name}: {answer.message}.", "Apply it first.")
