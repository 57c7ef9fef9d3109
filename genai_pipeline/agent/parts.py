"""The parts that answer questions: models, tools and sessions. They are built in a thread, after the service listens.

Importing Strands takes more than a second, and a service that does not listen looks dead. So no module that is imported
at the start may import this one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from genai_pipeline.agent.agent_metrics import AgentMetrics
from genai_pipeline.agent.conversation import Conversation
from genai_pipeline.agent.model_readiness import ReadinessCheck
from genai_pipeline.agent.models.chain import ModelChain
from genai_pipeline.agent.sessions.keeper import Sessions
from genai_pipeline.agent.sessions.leases import SessionLeases
from genai_pipeline.agent.sessions.session_record import SessionLimits
from genai_pipeline.agent.sessions.session_store import open_store
from genai_pipeline.agent.sessions.shared import SharedSessions
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.tools.builtin import build_tools
from genai_pipeline.agent.tools.mcp import McpServers
from genai_pipeline.agent.tools.weather import WeatherService
from genai_pipeline.agent.tracing import Tracing


@dataclass(frozen=True)
class Parts:
    """Use them within one event loop, which owns their connections.

    Args:
        converse: makes a conversation; its argument follows the system prompt.
    """

    models: ModelChain
    weather: WeatherService
    mcp: McpServers
    converse: Callable[[str], Conversation]
    sessions: Sessions
    readiness: ReadinessCheck
    tracing: Tracing

    @classmethod
    def build(cls, settings: Settings, metrics: AgentMetrics) -> Parts:
        """Raises: OSError: the folder of the sessions is not writable."""
        models = ModelChain(settings, metrics)
        weather = WeatherService(settings.weather_url, settings.weather_timeout_s)
        mcp = McpServers(settings.mcp_server_specs, settings.mcp_timeout_s)
        own = build_tools(weather)
        names = frozenset(t.tool_name for t in own) | mcp.tool_names
        metrics.knows_tools(names)

        def converse(system: str = "") -> Conversation:
            prompt = "\n\n".join(filter(None, (settings.system_prompt, system)))
            asked = settings.model_copy(update={"system_prompt": prompt})
            return Conversation(models.model(), [*own, *mcp.tools()], asked)

        sessions = Sessions(
            converse,
            SessionLimits(
                settings.max_sessions, settings.session_ttl_s, settings.session_max_bytes, settings.max_history_messages
            ),
            _shared_sessions(settings),
        )
        readiness = ReadinessCheck(settings, models, [t.tool_spec for t in own], mcp.problems)
        return cls(models, weather, mcp, converse, sessions, readiness, Tracing.begin(settings, names))

    async def start(self) -> None:
        """Connect to the tool servers, which needs the event loop."""
        await self.mcp.start()

    async def close(self) -> None:
        await self.sessions.close()
        await self.mcp.close()
        await self.weather.close()
        await self.models.close()
        await asyncio.to_thread(self.tracing.end)


def _shared_sessions(settings: Settings) -> SharedSessions | None:
    store = open_store(settings.sessions)
    if store is None:
        return None
    leases = SessionLeases(store, secrets.token_hex(8), settings.session_ttl_s, settings.session_lease_s)
    return SharedSessions(leases, settings.session_lease_s)
