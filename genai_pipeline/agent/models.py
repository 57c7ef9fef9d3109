"""The model behind the agent: any OpenAI-compatible endpoint (vLLM, Ray Serve) or Amazon Bedrock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.settings import Settings

TEMPERATURE = 0.0

_TOLD: Mapping[str, tuple[int, str, str]] = {
    "ModelThrottledException": (503, "model_busy", "The model at {where} takes no more requests now. Try again."),
    "ContextWindowOverflowException": (
        413,
        "conversation_too_long",
        "The conversation no longer fits the model. Shorten the prompt or start a new session.",
    ),
    "MaxTokensReachedException": (
        502,
        "answer_cut_off",
        "The model did not finish within {max_tokens} tokens. Ask for less, or raise MODEL_MAX_TOKENS.",
    ),
    "NotFoundError": (503, "model_unavailable", "{where} does not serve {model!r}. Check MODEL_ID, MODEL_BASE_URL."),
    "AuthenticationError": (503, "model_unavailable", "{where} refused the key. Check MODEL_API_KEY."),
    "PermissionDeniedError": (503, "model_unavailable", "{where} refused the key. Check MODEL_API_KEY."),
    "NoCredentialsError": (
        503,
        "model_unavailable",
        "No AWS credentials. Give the service a role that may use Bedrock.",
    ),
    "BadRequestError": (502, "model_refused", "The model at {where} refused the request: {said:.200}"),
}
"""Errors by the name of their type, so that neither client is imported only to name its errors."""
_CLIENTS = ("openai", "httpx", "httpx2", "httpcore", "botocore")


class ModelEndpoint:
    """Builds the Strands model. Make and use it within one event loop, whose connections it keeps.

    The client is shared by all sessions: Strands' default opens a connection for every completion.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        if settings.model_provider == "openai":
            from openai import AsyncOpenAI

            self._client = AsyncOpenAI(
                base_url=settings.model_base_url,
                api_key=settings.model_api_key,
                timeout=settings.model_timeout_s,
                max_retries=1,
            )

    @property
    def where(self) -> str:
        return "Amazon Bedrock" if self._client is None else self._settings.model_base_url

    def model(self, max_tokens: int | None = None) -> Any:
        """The Strands model; `max_tokens` of the settings where none is given."""
        settings, limit = self._settings, max_tokens or self._settings.model_max_tokens
        if self._client is None:
            from botocore.config import Config
            from strands.models import BedrockModel

            patience = Config(read_timeout=settings.model_timeout_s, retries={"total_max_attempts": 2})
            return BedrockModel(
                model_id=settings.model, temperature=TEMPERATURE, max_tokens=limit, boto_client_config=patience
            )
        from strands.models.openai import OpenAIModel

        params = {"temperature": TEMPERATURE, "max_tokens": limit}
        return OpenAIModel(client=self._client, model_id=settings.model, params=params)

    async def listed_models(self) -> list[str] | None:
        """Names that the endpoint serves; None for Bedrock, where nothing is served that is not asked for."""
        if self._client is None:
            return None
        return [model.id async for model in self._client.models.list()]

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def explain(self, error: BaseException) -> AgentError:
        """What to tell a caller whose turn ended with this error."""
        error = getattr(error, "original_exception", error)
        name, settings = type(error).__name__, self._settings
        if name in _TOLD:
            status, code, message = _TOLD[name]
            facts = {"where": self.where, "model": settings.model, "max_tokens": settings.model_max_tokens}
            told = message.format(**facts, said=str(error))
            return AgentError(status, code, told, 5 if status == 503 else None)
        if type(error).__module__.partition(".")[0] in _CLIENTS:
            message = f"The model {settings.model!r} at {self.where} did not answer ({name})."
            return AgentError(503, "model_unavailable", f"{message} Check that it runs and is reachable.", 5)
        return AgentError(500, "internal_error", f"The agent failed unexpectedly ({name}). See the service's log.")
