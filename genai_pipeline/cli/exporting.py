"""`genai exporter`: serves what the records say about releases to a Prometheus, until it is ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genai_pipeline.cli.context import Command, Context

if TYPE_CHECKING:
    from genai_pipeline.observability.exporter_site import App
    from genai_pipeline.resources.engines import Engines


def announce(command: Command) -> None:
    exporter = command("exporter", _exporter, "serve metrics of releases to a Prometheus, until it is ended")
    exporter.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    exporter.add_argument("--port", type=int, default=8593, help="port to listen on (default 8593)")
    exporter.set_defaults(interrupted="The records stay as they are.")


def _exporter(context: Context) -> int:
    import threading

    from genai_pipeline.core.errors import Refused
    from genai_pipeline.observability.exporter import serve_forever

    host, port, engines = context.args.host, context.args.port, context.engines()
    pages = _pages_of_one_machine(engines) if engines.profile.name == "local" else {}
    try:
        serve_forever(engines.gateways.store, host, port, context.say, threading.Event(), pages=pages)
    except OSError as error:
        raise Refused(f"Cannot listen on {host}:{port}: {error.strerror}.", "Pass another --port.") from error
    return 0


def _pages_of_one_machine(engines: Engines) -> dict[str, App]:
    """Return the page of dashboards, what the installation's Prometheus asks here, and where its alerts go."""
    from genai_pipeline.k8s.render import render_monitoring
    from genai_pipeline.k8s.templating import MANAGED_BY
    from genai_pipeline.local.alertmanager_server import webhook_file
    from genai_pipeline.observability.alert_relay import alert_relay
    from genai_pipeline.observability.dashboard_site import dashboard_pages
    from genai_pipeline.observability.exporter_site import json_page
    from genai_pipeline.observability.scrape_targets import targets_of

    monitors, cluster = render_monitoring(engines.profile), engines.gateways.cluster
    targets = json_page(lambda: targets_of(monitors, cluster.list("Pod", MANAGED_BY)))
    alerts = alert_relay(webhook_file(engines.profile.home))
    return {"/targets": targets, "/alerts": alerts, **dashboard_pages(engines.profile.prometheus_url)}
