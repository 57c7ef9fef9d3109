"""What answers questions: model, tools and sessions. Built in a thread, after the service listens.

Importing Strands takes more than a second, and a service that does not listen yet looks dead: nothing that is imported
at the start may import this.
"""

from __future__ import annotations

from dataclasses import dataclass

from genai_pipeline.agent.conversation import Conversation
from genai_pipeline.agent.metrics import AgentMetrics
from genai_pipeline.agent.models.chain import ModelChain
from genai_pipeline.agent.readiness import ReadinessCheck
from genai_pipeline.agent.sessions.keeper import SessionLimits, Sessions
from genai_pipeline.agent.sessions.opening import open_ledger
from genai_pipeline.agent.sessions.stored import StoredSessions
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.tools.builtin import build_tools
from genai_pipeline.agent.tools.weather import WeatherService


@dataclass(frozen=True)
class Parts:
    """Used within one event loop, which owns their connections."""

    models: ModelChain
    weather: WeatherService
    sessions: Sessions
    readiness: ReadinessCheck

    @classmethod
    def build(cls, settings: Settings, metrics: AgentMetrics) -> Parts:
        """Raises: OSError: the folder of the sessions cannot be written."""
        models = ModelChain(settings, metrics)
        weather = WeatherService(settings.weather_url, settings.weather_timeout_s)
        tools = build_tools(weather)
        metrics.knows_tools(frozenset(t.tool_name for t in tools))
        ledger = open_ledger(settings.sessions, settings.session_ttl_s, settings.session_lease_s)
        sessions = Sessions(
            lambda: Conversation(models.model(), tools, settings),
            SessionLimits(
                settings.max_sessions, settings.session_ttl_s, settings.session_max_bytes, settings.max_history_messages
            ),
            StoredSessions(ledger, settings.session_lease_s) if ledger else None,
        )
        return cls(models, weather, sessions, ReadinessCheck(settings, models, [t.tool_spec for t in tools]))

    async def close(self) -> None:
        await self.sessions.close()
        await self.weather.close()
        await self.models.close()
