"""Traces by OpenTelemetry, without the words of people and models. OTEL_EXPORTER_OTLP_ENDPOINT switches them on.

Strands writes prompts, answers and tool arguments into its spans: as events, as attributes, and in the description of
an error's status. Its own switch covers only a part. So only the attributes in a list are exported, unless
AGENT_TRACE_PROMPTS=true.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genai_pipeline.agent.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVICE_NAME = "strands-agent"
END_DEADLINE_S = 3.0
"""For the last spans at the end of the service, whether or not the receiver answers."""

_SHOWN = frozenset(
    (
        "session.id", "release.id", "error.type", "server.address", "event_loop.cycle_id",
        "event_loop.parent_cycle_id", "gen_ai.operation.name", "gen_ai.system", "gen_ai.provider.name",
        "gen_ai.agent.name", "gen_ai.agent.tools", "gen_ai.request.model", "gen_ai.response.model",
        "gen_ai.tool.status", "mcp.method.name", "mcp.protocol.version", "finish_reason", "exception.type",
    )
)  # fmt: skip
_SHOWN_BELOW = ("gen_ai.usage.", "gen_ai.server.", "gen_ai.event.")
_TOOL_NAME = "gen_ai.tool.name"
_TOOL_SPAN = "execute_tool "

logger = logging.getLogger(__name__)


class Tracing:
    """Without an endpoint it does nothing and imports nothing."""

    def __init__(self, settings: Settings, provider: TracerProvider | None = None) -> None:
        self._settings, self._provider = settings, provider

    @classmethod
    def begin(cls, settings: Settings, tool_names: frozenset[str] = frozenset()) -> Tracing:
        """Set up the traces, once in a process, before the first agent is made.

        Args:
            tool_names: the names that spans may show; a model may invent others.
        """
        if not any(os.environ.get(name) for name in ENDPOINT_VARIABLES):
            return cls(settings)
        from opentelemetry import trace

        provider = _provider(settings, tool_names)
        trace.set_tracer_provider(provider)
        return cls(settings, provider)

    def attributes(self, session_id: str) -> dict[str, str]:
        """Return the attributes of all spans of a session (`Agent(trace_attributes=...)`)."""
        return {"session.id": session_id, "release.id": self._settings.release_id}

    def end(self) -> None:
        """Send the remaining spans, within END_DEADLINE_S at most."""
        if self._provider is not None:
            ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
            ending.start()
            ending.join(END_DEADLINE_S)


def _provider(settings: Settings, tool_names: frozenset[str]) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from strands.telemetry import StrandsTelemetry

    named = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or SERVICE_NAME, "release.id": settings.release_id}
    provider = TracerProvider(resource=Resource.create({**named, "gen_ai.request.model": settings.model}))
    telemetry = StrandsTelemetry(tracer_provider=provider)
    if settings.trace_prompts:
        logger.warning("AGENT_TRACE_PROMPTS=true | prompts, answers and tool arguments are exported")
        telemetry.setup_otlp_exporter()
    else:
        provider.add_span_processor(BatchSpanProcessor(withholding(OTLPSpanExporter(), tool_names)))
    return provider


def withholding(exporter: SpanExporter, tool_names: frozenset[str]) -> SpanExporter:
    """Return an exporter that passes on nothing of a conversation's content."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Withholding(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return exporter.export([_bare(span, tool_names) for span in spans])

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Withholding()


def _bare(span: ReadableSpan, tool_names: frozenset[str]) -> ReadableSpan:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Status

    name = span.name
    if name.startswith(_TOOL_SPAN):
        name = _TOOL_SPAN + _known(name.removeprefix(_TOOL_SPAN), tool_names)
    return ReadableSpan(
        name=name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_shown(span.attributes or {}, tool_names),
        events=[Event(e.name, _shown(e.attributes or {}, tool_names), e.timestamp) for e in span.events],
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _shown(attributes: Mapping[str, Any], tool_names: frozenset[str]) -> dict[str, Any]:
    shown = {key: value for key, value in attributes.items() if key in _SHOWN or key.startswith(_SHOWN_BELOW)}
    if _TOOL_NAME in attributes:
        shown[_TOOL_NAME] = _known(str(attributes[_TOOL_NAME]), tool_names)
    return shown


def _known(name: str, tool_names: frozenset[str]) -> str:
    return name if name in tool_names else "unknown"
