"""The series that dashboards and rules ask for, as PromQL. Pure text.

Labels come from the PodMonitors in `k8s/templates/pod_monitor.yaml`: namespace, pod, service, model, release.
"""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.gateways.metrics.names import PREFIXES, PROXY_RESPONSES, RESPONSES

USER_HANDLERS = "/v[0-9]/.+|/(score|rerank|classify|pooling)"
OTHER_HANDLERS = "/v[0-9]/models(/.*)?"
"""RE2 has no look-ahead, so `ASKED_FOR_BY_USERS` of the gateway becomes a pattern and its exception."""
PODS_OF_ENGINES = 'service!~".+-agent-.+"'
"""Of `up`: an agent's pods have the labels `model` and `release`, too."""


def engine(name: str, *matchers: str) -> str:
    """Return the selector of a metric of vLLM's, as the engine or Ray exports it.

    Args:
        name: without its prefix.
        matchers: as `release="x"`.
    """
    names = "|".join(prefix + name for prefix in PREFIXES)
    return selector("", f'__name__=~"{names}"', *matchers)


def selector(name: str, *matchers: str) -> str:
    """Return a selector; empty matchers are left out."""
    return f"{name}{{{','.join(m for m in matchers if m)}}}"


def equals(label: str, value: str) -> str:
    """Return a matcher."""
    return f'{label}="{value}"'


def rate_of(series: str, window: str, by: Sequence[str]) -> str:
    """Return the rate of a counter per second, summed by labels."""
    return f"sum by ({', '.join(by)}) (rate({series}[{window}]))"


def quantile(q: float, name: str, window: str, by: Sequence[str], *matchers: str) -> str:
    """Return a quantile of one of vLLM's histograms.

    Args:
        name: without its prefix and without `_bucket`.
    """
    buckets = rate_of(engine(f"{name}_bucket", *matchers), window, ("le", *by))
    return f"histogram_quantile({q}, {buckets})"


def mean(name: str, window: str, by: Sequence[str], *matchers: str) -> str:
    """Return the mean of one of vLLM's histograms: seconds for each request, not seconds per second."""
    total = rate_of(engine(f"{name}_sum", *matchers), window, by)
    return f"{total} / {rate_of(engine(f'{name}_count', *matchers), window, by)}"


def answers(window: str, by: Sequence[str], *matchers: str, failed: bool = False) -> str:
    """Return answers to users per second: of vLLM's server, or of the proxies of Ray Serve.

    As in the watch, 2xx and 5xx count: a refused request is the caller's.

    Args:
        failed: only those of the class 5xx.
    """

    def one(name: str, path: str, status: str, classes: Sequence[str]) -> str:
        asked = (f'{path}=~"{USER_HANDLERS}"', f'{path}!~"{OTHER_HANDLERS}"')
        return rate_of(selector(name, *matchers, *asked, f'{status}=~"{"|".join(classes)}"'), window, by)

    digits = ("5",) if failed else ("2", "5")
    plain = one(RESPONSES, "handler", "status", [f"{digit}xx" for digit in digits])
    on_ray = one(PROXY_RESPONSES, "route", "status_code", [f"{digit}.." for digit in digits])
    return f"({plain} or {on_ray})"


def failed_share(window: str, by: Sequence[str], *matchers: str) -> str:
    """Return the share of answers that failed; 0 where a release has answered and never failed."""
    everything = answers(window, by, *matchers)
    failures = answers(window, by, *matchers, failed=True)
    return f"({failures} or {everything} * 0) / {everything}"


def of_engine_gpus(of_gpu: str, namespace: str, *matchers: str) -> str:
    """Return figures of GPUs with the pod, model and release that they work for.

    Where Prometheus does not honour the labels of dcgm-exporter, `exported_pod` has the name of the pod.

    Args:
        of_gpu: expression with `MATCHERS` where the matchers of DCGM's series belong.
    """
    own = of_gpu.replace("MATCHERS", f'namespace="{namespace}"')
    exported = of_gpu.replace("MATCHERS", f'exported_namespace="{namespace}"')
    renamed = f'label_replace({exported}, "pod", "$1", "exported_pod", "(.+)")'
    pods = selector("up", f'namespace="{namespace}"', PODS_OF_ENGINES, *matchers)
    return (
        f"max by (pod, gpu) ({own} or {renamed}) "
        f"* on (pod) group_left (model, release) group by (pod, model, release) ({pods})"
    )
