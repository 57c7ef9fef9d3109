"""`genai exporter`: serves what the records say about releases to a Prometheus, until it is ended."""

from __future__ import annotations

from genai_pipeline.cli.context import Command, Context


def announce(command: Command) -> None:
    exporter = command("exporter", _exporter, "serve metrics of releases to a Prometheus, until it is ended")
    exporter.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    exporter.add_argument("--port", type=int, default=8593, help="port to listen on (default 8593)")
    exporter.set_defaults(interrupted="The records stay as they are.")


def _exporter(context: Context) -> int:
    import threading

    from genai_pipeline.core.errors import Refused
    from genai_pipeline.observability.exporter import serve_forever

    host, port = context.args.host, context.args.port
    try:
        serve_forever(context.engines().gateways.store, host, port, context.say, threading.Event())
    except OSError as error:
        raise Refused(f"Cannot listen on {host}:{port}: {error.strerror}.", "Pass another --port.") from error
    return 0
