"""The models behind the agent as the service sees them: one Strands model, what to tell of its errors, how it is."""

from __future__ import annotations

from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.metrics import AgentMetrics
from genai_pipeline.agent.models.endpoint import Endpoint, Provider
from genai_pipeline.agent.models.explain import explain
from genai_pipeline.agent.models.fallback import RAISED_BY, FallbackModel
from genai_pipeline.agent.models.spec import EndpointSpec
from genai_pipeline.agent.settings import Settings


class ModelChain:
    """The endpoints of MODEL_* and MODEL_FALLBACKS, in order. Use it within one event loop, whose connections it keeps.

    Making it imports the providers' clients (0.8 s): make it where that holds nobody up.
    """

    def __init__(self, settings: Settings, metrics: AgentMetrics) -> None:
        self._settings = settings
        self.endpoints = [Endpoint(spec, _provider(spec, settings), settings, metrics) for spec in settings.endpoints]
        self._model = FallbackModel(self.endpoints)

    @property
    def completed_at(self) -> float:
        """When the last completion ended well, on the monotonic clock."""
        return max(endpoint.completed_at for endpoint in self.endpoints)

    def model(self) -> FallbackModel:
        """The Strands model, which all sessions share."""
        return self._model

    def explain(self, error: BaseException, endpoint: Endpoint | None = None) -> AgentError:
        """What to tell a caller whose turn ended with this error."""
        error = getattr(error, "original_exception", error)
        spec = endpoint.spec if endpoint else getattr(error, RAISED_BY, self.endpoints[0].spec)
        return explain(error, spec, self._settings.model_max_tokens)

    async def close(self) -> None:
        """Close every connection and end the probes."""
        for endpoint in self.endpoints:
            await endpoint.close()


def _provider(spec: EndpointSpec, settings: Settings) -> Provider:
    """Imports only what is used: each client takes most of a second."""
    if spec.provider == "bedrock":
        from genai_pipeline.agent.models.bedrock_provider import BedrockProvider

        return BedrockProvider(spec, settings)
    from genai_pipeline.agent.models.openai_provider import OpenAIProvider

    return OpenAIProvider(spec, settings)
