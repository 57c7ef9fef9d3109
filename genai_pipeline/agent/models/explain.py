"""Errors of completions as the caller gets them: a status, a code, and a message with the remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.models.completion_failures import BUSY, AllFailed, LeftOut, Stalled, bedrock_code, fault_of
from genai_pipeline.agent.models.spec import EndpointSpec

RETRY_AFTER_S = 5

_ANSWERS: Mapping[str, tuple[int, str, str]] = {
    "ModelThrottledException": (503, "model_busy", "The model at {where} accepts no more requests now. Try again."),
    "ContextWindowOverflowException": (
        413,
        "conversation_too_long",
        "The conversation no longer fits the model's context. Shorten the prompt or start a new session.",
    ),
    "MaxTokensReachedException": (
        502,
        "answer_cut_off",
        "The model did not finish within {max_tokens} tokens. Ask for less, or raise MODEL_MAX_TOKENS.",
    ),
    "NotFoundError": (503, "model_unavailable", "{where} does not serve {model!r}. Check MODEL_ID and MODEL_BASE_URL."),
    "AuthenticationError": (503, "model_unavailable", "{where} refused the key. Check MODEL_API_KEY."),
    "PermissionDeniedError": (503, "model_unavailable", "{where} refused the key. Check MODEL_API_KEY."),
    "NoCredentialsError": (
        503,
        "model_unavailable",
        "The service has no AWS credentials. Give it a role that may use Bedrock.",
    ),
    "AccessDeniedException": (
        503,
        "model_unavailable",
        "{where} does not allow this service to use {model!r}. Give its role bedrock:InvokeModelWithResponseStream.",
    ),
    "ResourceNotFoundException": (
        503,
        "model_unavailable",
        "{where} does not have {model!r} in this region. Check MODEL_ID and AWS_REGION.",
    ),
    "ExpiredTokenException": (503, "model_unavailable", "The AWS credentials have expired. Renew them."),
    "UnrecognizedClientException": (503, "model_unavailable", "{where} refused the AWS credentials. Check the role."),
    "ServiceQuotaExceededException": (503, "model_busy", "The quota for {model!r} at {where} is used up. Try again."),
    "BadRequestError": (502, "model_refused", "The model at {where} refused the request: {message:.200}"),
    "UnprocessableEntityError": (502, "model_refused", "The model at {where} refused the request: {message:.200}"),
    "ValidationException": (502, "model_refused", "The model at {where} refused the request: {message:.200}"),
    "Stalled": (504, "model_stalled", "The model {model!r} at {where} stopped answering: {message}. Try again later."),
    "BrokenStream": (
        502,
        "model_garbage",
        "The answer of {model!r} at {where} is malformed. {message} Check that it speaks the chat completions API.",
    ),
    "UnusableAnswer": (502, "no_answer", "The answer of {model!r} cannot be used. {message} Ask in another way."),
}
"""By the name of an error's type, or by Bedrock's code, so that no client is imported only to name its errors."""
_CLIENTS = ("openai", "httpx", "httpcore", "botocore", "urllib3")


def explain(error: BaseException, spec: EndpointSpec, max_tokens: int) -> AgentError:
    """Return what the caller gets for this error. Args: spec: the endpoint that raised it."""
    error = getattr(error, "original_exception", error)
    if isinstance(error, AllFailed):
        return _all_failed(error)
    if isinstance(error, LeftOut):
        wait_s = max(1, math.ceil(error.left_s))
        message = (
            f"The model {spec.model!r} at {spec.where} failed repeatedly and is not asked now. "
            f"The next attempt is in {wait_s} s. Check that it runs and is reachable."
        )
        return AgentError(503, "model_unavailable", message, wait_s)
    too_large = getattr(error, "status_code", 0) == 413
    name = "ContextWindowOverflowException" if too_large else type(error).__name__
    code = bedrock_code(error)
    if code == "ValidationException" and fault_of(error).elsewhere:  # the model does not exist, or not in this region
        code = "ResourceNotFoundException"
    answer = _ANSWERS.get(code) or _ANSWERS.get(name)
    if answer is None and type(error).__module__.partition(".")[0] in _CLIENTS:
        message = "The model {model!r} at {where} did not answer ({name}). Check that it runs and is reachable."
        answer = (503, "model_unavailable", message)
    if answer is None:
        return AgentError(500, "internal_error", f"The agent failed unexpectedly ({name}). See the service's log.")
    status, code, message = answer
    facts = {"where": spec.where, "model": spec.model, "max_tokens": max_tokens, "message": str(error)}
    return AgentError(
        status,
        code,
        message.format(**facts, name=bedrock_code(error) or name),
        RETRY_AFTER_S if status == 503 else None,
    )


def _all_failed(error: AllFailed) -> AgentError:
    causes = [cause for _, cause in error.failures]
    busy = all(fault_of(cause) is BUSY for cause in causes)
    waits = [math.ceil(cause.left_s) for cause in causes if isinstance(cause, LeftOut)]
    reasons = "; ".join(f"{where}: {_briefly(cause)}" for where, cause in error.failures)
    return AgentError(
        503,
        "model_busy" if busy else "model_unavailable",
        f"All {len(causes)} models failed ({reasons}). Check that they run and are reachable, or try again.",
        max(1, min(waits, default=RETRY_AFTER_S)),
    )


def _briefly(cause: BaseException) -> str:
    if isinstance(cause, (LeftOut, Stalled)):
        return str(cause)
    return bedrock_code(cause) or type(cause).__name__
