"""Decides which answers of the API server are worth another try, and which error stands for the others. Pure.

Source: Kubernetes documentation, "API conventions", status kinds and codes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.core.errors import AccessDenied, ClusterUnavailable, GenaiError, NotFound, Refused, UnknownKind
from genai_pipeline.gateways.cluster.kinds import ApiRequest

AGAIN = frozenset({429, 500, 502, 503, 504})
ROLE = "genai-pipeline"


@dataclass(frozen=True)
class ApiAnswer:
    """A whole answer of the API server. `content` is parsed JSON, or text where it is not JSON."""

    status: int
    content: Any
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
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

    @property
    def is_worth_another_try(self) -> bool:
        """Tells whether the same request may get another answer in a moment. All requests here are idempotent."""
        if self.status == 409:
            # A conflict of field managers stays. A lost race with another writer does not.
            return not self.causes and self.reason in ("Conflict", "AlreadyExists", "")
        return self.status in AGAIN and not self.is_malformed

    @property
    def is_malformed(self) -> bool:
        """Tells whether a field has a wrong type or name: server-side apply answers 500 to it."""
        return self.status == 500 and "failed to create typed patch object" in self.message


def parsed(body: bytes) -> Any:
    """Return the JSON in a body, or its text."""
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def error_of(answer: ApiAnswer, request: ApiRequest) -> GenaiError:
    """Return the error for an answer that no further try will change."""
    if answer.status == 401:
        return AccessDenied(
            f"The cluster does not accept our credentials ({request}).", "Renew those of the kubeconfig and run again."
        )
    if answer.status == 403:
        return _forbidden(answer, request)
    if answer.status == 404:
        return _not_found(answer, request)
    if answer.status in (400, 405, 409, 413, 415, 422) or answer.is_malformed:
        fields = [f"{c['field']}: {c.get('message', '')}" for c in answer.causes if c.get("field")]
        remedy = f"Correct {'; '.join(fields)}." if fields else "Correct the manifest and apply it again."
        return Refused(f"The cluster refused to {request}: {answer.message}.", remedy)
    return ClusterUnavailable(
        f"The cluster's API answered {answer.status} to {request}: {answer.message}.", "Try again later."
    )


def _forbidden(answer: ApiAnswer, request: ApiRequest) -> Refused:
    if "cannot " in answer.message:
        where = f"in namespace {request.namespace}" if request.namespace else "in the whole cluster"
        return AccessDenied(
            f"We may not {request.verb} {request.resource} {where}: {answer.message}.",
            f"Ask for Role {ROLE}, which grants it, or add the verb {request.verb!r} on {request.resource!r}.",
        )
    return Refused(f"The cluster refused to {request}: {answer.message}.", "Change what the message names.")


def _not_found(answer: ApiAnswer, request: ApiRequest) -> GenaiError:
    if answer.reason != "NotFound":
        return UnknownKind(
            f"The cluster does not know {request.resource}.", "Install the operator or CRD that brings this kind."
        )
    if "namespaces" in answer.message and request.resource != "namespaces":
        return NotFound(f"There is no namespace {request.namespace}.", "Apply the Namespace first.")
    return NotFound(f"There is no {request.resource} {request.name}: {answer.message}.", "Apply it first.")
