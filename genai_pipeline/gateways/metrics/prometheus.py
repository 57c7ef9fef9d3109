"""Reads engines' metrics through Prometheus' HTTP API (Prometheus, or AMP with `sigv4.py`).

It sees every replica of a release, but only as of the last scrape. A reading must not be older than the call, or the
load just sent is not in it. So `read` waits until every series has a sample that was scraped after the call began.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading, Metrics, Sample
from genai_pipeline.gateways.metrics.gpu_names import NAMES, REQUIRED, readings_of
from genai_pipeline.gateways.metrics.names import (
    ALL,
    INTER_TOKEN_BUCKET,
    KV_CACHE,
    OWN,
    PREFIXES,
    PROMPT_TOKENS,
    PROXY_RESPONSES,
    RAY,
    RESPONSES,
    STARTED,
    metrics_from,
)
from genai_pipeline.gateways.metrics.prometheus_api import PrometheusApi

RAY_LAG_S = 15
"""How old a figure may be when Prometheus reads it from a pod of Ray, whose processes report every 10 s."""


_IN_CLUSTER = re.compile(r"^https?://(?P<service>[a-z][a-z0-9-]*)\.(?P<namespace>[a-z0-9-]+)[.:/]")
_THROUGH_API = re.compile(r"/namespaces/(?P<namespace>[^/]+)/services/(?:https?:)?(?P<service>[^/:]+)")


def service_labels(base_url: str) -> Mapping[str, str]:
    """Return the labels that a ServiceMonitor gives the series of the Service behind an address.

    Raises: EngineUnavailable: the address names no Service, as a forwarded port does not.
    """
    found = _THROUGH_API.search(base_url) or _IN_CLUSTER.search(f"{base_url}/")
    if found is None:
        raise EngineUnavailable(
            f"{base_url} does not say which Service it leads to, so Prometheus cannot be asked about it.",
            "Unset GENAI_PROMETHEUS_URL to read the engine's own /metrics.",
        )
    return {"namespace": found["namespace"], "service": found["service"]}


class PrometheusMetrics(Metrics):
    """Reads metrics with instant queries, summed over the series of one release's Service.

    Args:
        url: address of the API, without `/api/v1`.
        fresh_within_s: seconds to wait for the next scrape; more than the scrape interval.
        labels_of: address of an engine -> labels that select its series.
    """

    def __init__(
        self,
        url: str,
        fresh_within_s: float = 90,
        auth: httpx.Auth | None = None,
        labels_of: Callable[[str], Mapping[str, str]] = service_labels,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = PrometheusApi(url, auth, pause)
        self._url = self._api.url
        self._labels_of = labels_of
        self._fresh_within_s = fresh_within_s
        self._pause = pause

    def read(self, base_url: str) -> EngineMetrics:
        labels = self._labels_of(base_url)
        return metrics_from(self._samples(labels, self._fresh_time(labels)), f"{self._url} for {base_url}")

    def latest(self, base_url: str) -> EngineMetrics:
        labels = self._labels_of(base_url)
        now = self._now()
        scraped = self._query(_measured_at(labels), now)
        if not scraped:
            raise self._unseen(labels, "has no series")
        ours = _matchers(labels)
        names, by = f"{RESPONSES}|{PROXY_RESPONSES}", "__name__, handler, status, route, status_code"
        counted = self._query(f'sum by ({by}) ({{__name__=~"{names}", {ours}}})', now)
        started = self._query(f'max by (__name__) ({{__name__="{STARTED}", {ours}}})', now)
        samples = [*self._samples(labels, now), *map(_sample, counted), *map(_sample, started)]
        read = metrics_from(samples, f"{self._url} for {base_url}")
        return replace(read, age_s=max(0.0, now - _sample(scraped[0])[2]))

    def _samples(self, labels: Mapping[str, str], at: float) -> list[Sample]:
        summed = self._query(f"sum by (__name__, le) ({_series(labels, *ALL, INTER_TOKEN_BUCKET)})", at)
        fullest = self._query(f"max by (__name__) ({_series(labels, KV_CACHE)})", at)
        return [*(s for s in map(_sample, summed) if not s[0].endswith(KV_CACHE)), *map(_sample, fullest)]

    def query(self, promql: str) -> list[Sample]:
        return [_sample(series) for series in self._query(promql)]

    def gpus(self, base_url: str) -> list[GpuReading]:
        pods = f"{self._labels_of(base_url).get('service', '')}-.+"
        names = "|".join(NAMES)
        ours = [f"{label}=~{json.dumps(pods)}" for label in ("exported_pod", "pod")]
        found = self._query(" or ".join(f'{{__name__=~"{names}", {each}}}' for each in ours))
        # Of a selector alone `timestamp` gives the time of the scrape, of anything else that of the query.
        scraped = self._query(" or ".join(f"timestamp({REQUIRED}{{{each}}})" for each in ours))
        return readings_of(map(_sample, found), map(_sample, scraped), f"{self._url} for pods {pods}")

    def _fresh_time(self, labels: Mapping[str, str]) -> float:
        """Return a moment by Prometheus' clock at which every replica was scraped after this call began."""
        asked_at = now = self._now()
        oldest = _measured_at(labels)
        while True:
            scraped = self._query(oldest, now)
            if scraped and _sample(scraped[0])[2] > asked_at:
                return now
            if now - asked_at > self._fresh_within_s:
                seen = "has no series" if not scraped else f"was not scraped for {self._fresh_within_s:g} s"
                raise self._unseen(labels, seen)
            self._pause(1.0)
            now = self._now()

    def _unseen(self, labels: Mapping[str, str], seen: str) -> EngineUnavailable:
        return EngineUnavailable(
            f"The engine with {dict(labels)} {seen} at {self._url}.",
            "Does a PodMonitor or ServiceMonitor select the engine's pods?",
        )

    def _now(self) -> float:
        return float(self._api.ask("time()")["result"][0])

    def _query(self, promql: str, at: float | None = None) -> list[dict[str, Any]]:
        return self._api.ask(promql, at)["result"]


def _measured_at(labels: Mapping[str, str]) -> str:
    """Return the query for when the replica that was read longest ago was measured."""
    plain, on_ray = (_series(labels, PROMPT_TOKENS, prefixes=prefixes) for prefixes in (OWN, (RAY,)))
    return f"min(timestamp({plain}) or timestamp({on_ray}) - {RAY_LAG_S})"


def _series(labels: Mapping[str, str], *names: str, prefixes: Sequence[str] = PREFIXES) -> str:
    pattern = f"({'|'.join(prefixes)})({'|'.join(names)})"
    return f"{{__name__=~{json.dumps(pattern)}, {_matchers(labels)}}}"


def _matchers(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{label}={json.dumps(value)}" for label, value in labels.items())


def _sample(series: dict[str, Any]) -> Sample:
    labels = dict(series["metric"])
    return labels.pop("__name__", ""), labels, float(series["value"][1])
