"""Engines' metrics through Prometheus' HTTP API (Prometheus, or AMP with `sigv4.py`).

Sees every replica of a release, but only as of the last scrape. A reading must not be older than
the question, or the load just sent is not in it: `read` waits until every series has a sample
scraped after it was asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading, Metrics
from genai_pipeline.gateways.metrics.names import ALL, KV_CACHE, PREFIXES, RUNNING, Sample, metrics_from

_DCGM = {
    "xid_error": "DCGM_FI_DEV_XID_ERRORS",
    "double_bit_errors": "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
    "row_remap_failures": "DCGM_FI_DEV_ROW_REMAP_FAILURE",
    "temperature_c": "DCGM_FI_DEV_GPU_TEMP",
}
_REQUIRED_OF_GPU = "xid_error"


class PrometheusMetrics(Metrics):
    """Instant queries, summed over the series that `matchers` select.

    Args:
        url: address of the API, without `/api/v1`.
        matchers: labels of the release's series, e.g. `{"namespace": "genai", "service": "m-<release>"}`.
        pod_pattern: regular expression of the release's pods, for DCGM's series.
        fresh_within_s: deadline for the next scrape; more than the scrape interval.
    """

    def __init__(
        self,
        url: str,
        matchers: Mapping[str, str],
        pod_pattern: str = ".+",
        fresh_within_s: float = 90,
        auth: httpx.Auth | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        self._matchers = [f"{label}={json.dumps(value)}" for label, value in matchers.items()]
        self._pod_pattern = pod_pattern
        self._fresh_within_s = fresh_within_s
        self._pause = pause
        self._client = httpx.Client(timeout=10, auth=auth, trust_env=False)

    def read(self, base_url: str) -> EngineMetrics:
        """One reading over all replicas; `base_url` is only named in errors, `matchers` select."""
        at = self._fresh_time(base_url)
        summed = self._query(f"sum by (__name__, le) ({self._series(*ALL)})", at)
        fullest = self._query(f"max by (__name__) ({self._series(KV_CACHE)})", at)
        samples: list[Sample] = [s for s in map(_sample, summed) if not s[0].endswith(KV_CACHE)]
        return metrics_from([*samples, *map(_sample, fullest)], f"{self._url} for {base_url}")

    def gpus(self, base_url: str) -> list[GpuReading]:
        names = "|".join(_DCGM.values())
        pods = json.dumps(self._pod_pattern)
        ours = " or ".join(f'{{__name__=~"{names}", {label}=~{pods}}}' for label in ("exported_pod", "pod"))
        found: dict[str, dict[str, float]] = {}
        for series in self._query(ours):
            name, labels, value = _sample(series)
            gpu = labels.get("UUID") or f"{labels.get('Hostname', '?')}/{labels.get('gpu', '?')}"
            found.setdefault(gpu, {})[name] = value
        if not found or any(_DCGM[_REQUIRED_OF_GPU] not in values for values in found.values()):
            raise EngineUnavailable(
                f"{self._url} has no {_DCGM[_REQUIRED_OF_GPU]} for pods {self._pod_pattern}.",
                "Is dcgm-exporter running on the GPU nodes, scraped, and exporting Xid errors?",
            )
        return [_gpu(name, values) for name, values in sorted(found.items())]

    def _series(self, *names: str) -> str:
        pattern = f"({'|'.join(PREFIXES)})({'|'.join(names)})"
        return "{" + ", ".join([f"__name__=~{json.dumps(pattern)}", *self._matchers]) + "}"

    def _fresh_time(self, base_url: str) -> float:
        """A moment, by Prometheus' clock, at which every replica was scraped after we asked."""
        asked_at = now = self._now()
        oldest = f"min(timestamp({self._series(RUNNING)}))"
        while True:
            scraped = self._query(oldest, now)
            if scraped and _sample(scraped[0])[2] > asked_at:
                return now
            if now - asked_at > self._fresh_within_s:
                seen = "has no series" if not scraped else f"was not scraped for {self._fresh_within_s:g} s"
                raise EngineUnavailable(
                    f"{base_url} {seen} at {self._url} with {', '.join(self._matchers)}.",
                    "Does a PodMonitor or ServiceMonitor select the engine's pods?",
                )
            self._pause(1.0)
            now = self._now()

    def _now(self) -> float:
        return float(self._get("time()")["result"][0])

    def _query(self, promql: str, at: float | None = None) -> list[dict[str, Any]]:
        return self._get(promql, at)["result"]

    def _get(self, promql: str, at: float | None = None) -> dict[str, Any]:
        fields = {"query": promql} | ({} if at is None else {"time": f"{at:.3f}"})
        try:
            response = self._client.post(f"{self._url}/api/v1/query", data=fields)
            body = response.json()
            if body["status"] != "success":
                raise EngineUnavailable(
                    f"{self._url} refused {promql!r}: {body.get('error', body)}.", "Is it a Prometheus?"
                )
            return body["data"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EngineUnavailable(
                f"{self._url} did not answer as Prometheus does: {error!r}.", "Check GENAI_PROMETHEUS_URL."
            ) from error


def _sample(series: dict[str, Any]) -> Sample:
    labels = dict(series["metric"])
    return labels.pop("__name__", ""), labels, float(series["value"][1])


def _gpu(name: str, values: dict[str, float]) -> GpuReading:
    def count(what: str) -> int:
        return int(values.get(_DCGM[what], 0))

    return GpuReading(
        gpu=name,
        xid_error=count("xid_error"),
        double_bit_errors=count("double_bit_errors"),
        row_remap_failures=count("row_remap_failures"),
        temperature_c=values.get(_DCGM["temperature_c"]),
    )
