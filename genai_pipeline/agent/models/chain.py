"""The models behind the agent as the service uses them: one Strands model and the explanation of its errors."""

from __future__ import annotations

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.agent_metrics import AgentMetrics
from genai_pipeline.agent.models.explain import explain
from genai_pipeline.agent.models.model_endpoint import ModelEndpoint, ModelProvider
from genai_pipeline.agent.models.model_fallback import RAISED_BY, FallbackModel
from genai_pipeline.agent.models.spec import EndpointSpec
from genai_pipeline.agent.settings import Settings


class ModelChain:
    """The endpoints of MODEL_* and MODEL_FALLBACKS, in order. Use it within one event loop, which owns its connections.

    The constructor imports the providers' clients, which takes 0.8 s: call it in a thread.
    """

    def __init__(self, settings: Settings, metrics: AgentMetrics) -> None:
        self._settings = settings
        self.endpoints = [
            ModelEndpoint(spec, _provider(spec, settings), settings, metrics) for spec in settings.endpoints
        ]
        self._model = FallbackModel(self.endpoints)

    def model(self) -> FallbackModel:
        """Return the Strands model, which all sessions share."""
        return self._model

    def explain(self, error: BaseException, endpoint: ModelEndpoint | None = None) -> AgentError:
        """Return what the caller of a turn gets for this error."""
        error = getattr(error, "original_exception", error)
        spec = endpoint.spec if endpoint else getattr(error, RAISED_BY, self.endpoints[0].spec)
        return explain(error, spec, self._settings.model_max_tokens)

    async def close(self) -> None:
        """Close every connection and end the probes."""
        for endpoint in self.endpoints:
            await endpoint.close()


def _provider(spec: EndpointSpec, settings: Settings) -> ModelProvider:
    """Import only the client in use: each one takes most of a second."""
    if spec.provider == "bedrock":
        from genai_pipeline.agent.models.bedrock_provider import BedrockProvider

        return BedrockProvider(spec, settings)
    from genai_pipeline.agent.models.openai_provider import OpenAIProvider

    return OpenAIProvider(spec, settings)
