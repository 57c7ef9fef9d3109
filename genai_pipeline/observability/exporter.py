"""The exporter of releases: reads the records again and again, and serves them to Prometheus.

A scrape never waits for the store. It gets the last picture, with the time at which that was read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.progress import Log
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.observability.exporter_site import App, serving
from genai_pipeline.observability.release_series import Books, complete, release_series
from genai_pipeline.rollout.record.record_cache import RecordCache
from genai_pipeline.rollout.record.records import Records

EVERY_S = 15.0
READ_AT = "genai_exporter_last_read_timestamp_seconds"


class ReleaseExporter(Collector):
    """Keeps the last picture of all records. `read` and `collect` may run at once."""

    def __init__(self, store: ObjectStore, now: Callable[[], float] = time.time) -> None:
        self._records = Records(store)
        self._cache = RecordCache(store, whole=True)
        self._now = now
        self._picture: tuple[Books, float] = ({}, 0.0)

    def read(self) -> None:
        """Read what changed. Raises: GenaiError: the store does not answer; the last picture stays."""
        models = self._records.models()
        found = self._cache.read(models) if models else {}
        self._picture = complete(found, self._picture[0]), self._now()

    def collect(self) -> Iterator[Metric]:
        """Yield all series. Before the first reading its time is 0, and no model is known."""
        books, read_at = self._picture
        yield GaugeMetricFamily(READ_AT, "When the records were read last.", value=read_at)
        yield from release_series(books)


def serve_forever(
    store: ObjectStore,
    host: str,
    port: int,
    say: Log,
    stopped: threading.Event,
    every_s: float = EVERY_S,
    pages: Mapping[str, App] | None = None,
) -> None:
    """Serve `/metrics`, and other pages beside it, until `stopped` is set.

    Args:
        every_s: seconds between two readings.
        pages: path -> what answers there. Without one for `/`, the metrics answer there, too.
    Raises: OSError: the port is taken.
    """
    exporter, registry = ReleaseExporter(store), CollectorRegistry()
    registry.register(exporter)
    metrics = make_wsgi_app(registry)
    with serving(host, port, {"/": metrics, **(pages or {}), "/metrics": metrics}):
        said = ""
        while True:
            problem = _problem(exporter)
            if problem != said:
                say(problem or "The records can be read again.")
                said = problem
            if stopped.wait(every_s):
                return


def _problem(exporter: ReleaseExporter) -> str:
    """Return why the records could not be read, or an empty text."""
    try:
        exporter.read()
    except GenaiError as error:
        return str(error)
    return ""
