"""Alerts about what all models share: the way of the metrics, GPUs, nodes."""

from __future__ import annotations

from genai_pipeline.core.clock_reasons import REASONS, SERIES
from genai_pipeline.core.profile import Profile
from genai_pipeline.loadtest.gpu_verdict import HARDWARE_XIDS
from genai_pipeline.observability.alerts import Alert
from genai_pipeline.observability.exporter import READ_AT
from genai_pipeline.observability.series import equals, selector

LATE_S = 300
NOTHING_S = 600
HOT_C = 85
"""Degrees Celsius. It is a choice: `nvidia-smi -q -d TEMPERATURE` shows at how many a GPU slows down."""
NODE_LIFE_S = 336 * 3600
"""Seconds after which Karpenter replaces a node: `expireAfter` of the node pools."""
BEFORE_END_S = 24 * 3600


def platform_alerts(profile: Profile) -> list[Alert]:
    """Return the alerts of an installation."""
    nodes = [_node_expires(profile.namespace)] if profile.has_eks_nodes else []
    return [*_metrics(profile.namespace), *_gpus(profile.namespace), *nodes]


def _metrics(namespace: str) -> list[Alert]:
    refused = "rate(prometheus_remote_storage_samples_failed_total[5m]) > 0"
    late = f"time() - prometheus_remote_storage_queue_highest_sent_timestamp_seconds > {LATE_S}"
    nothing = f"absent({selector('up', equals('namespace', namespace))})"
    stale = f"time() - {selector(READ_AT, equals('namespace', namespace))} > {NOTHING_S}"
    return [
        Alert(
            "GenaiReleasesUnread", stale, 0, "warning",
            "The exporter of releases has not read the records for {{ $value | humanizeDuration }}.",
        ),
        Alert(
            "GenaiMetricsRefused", refused, LATE_S, "critical",
            "{{ $labels.url }} refuses samples for good: {{ $value | humanize }} in a second are lost.",
        ),
        Alert(
            "GenaiMetricsLate", late, LATE_S, "critical",
            "{{ $labels.url }} got nothing for {{ $value | humanizeDuration }}.",
        ),
        Alert(
            "GenaiMetricsAbsent", nothing, NOTHING_S, "critical",
            f"There are no metrics of anything in namespace {namespace}.",
        ),
    ]  # fmt: skip


def _gpus(namespace: str) -> list[Alert]:
    def of(name: str) -> str:
        ours, exported = equals("namespace", namespace), equals("exported_namespace", namespace)
        return f"({selector(name, ours)} or {selector(name, exported)})"

    def alert(name: str, expr: str, hold_s: float, severity: str, summary: str) -> Alert:
        pod = "{{ or $labels.exported_pod $labels.pod }}"
        return Alert(name, expr, hold_s, severity, f"GPU {{{{ $labels.gpu }}}} of {pod}: {summary}")

    xid = of("DCGM_FI_DEV_XID_ERRORS")
    hardware = " or ".join(f"{xid} == {code}" for code in HARDWARE_XIDS)
    memory = f"{of('DCGM_FI_DEV_ECC_DBE_VOL_TOTAL')} > 0 or {of('DCGM_FI_DEV_ROW_REMAP_FAILURE')} > 0"
    mask = " or ".join(of(name) for name in SERIES)
    slowed = " or ".join(f"floor(({mask}) / {reason.bit}) % 2 == 1" for reason in REASONS if reason.is_fault)
    return [
        alert("GenaiGpuXid", hardware, 0, "critical", "Xid {{ $value }} means the hardware."),
        alert("GenaiGpuMemoryErrors", memory, 0, "critical", "its memory has errors that cannot be corrected."),
        alert("GenaiGpuHot", f"{of('DCGM_FI_DEV_GPU_TEMP')} >= {HOT_C}", 600, "warning", "{{ $value }} °C."),
        alert("GenaiGpuSlowed", slowed, 300, "warning", "heat or its power supply holds its clocks back."),
    ]


def _node_expires(namespace: str) -> Alert:
    """Return the alert about a node that Karpenter replaces soon. Its series are those of kube-state-metrics."""
    age = "max by (node) (time() - kube_node_created)"
    used = f"group by (node) ({selector('kube_pod_info', equals('namespace', namespace))})"
    expr = f"{age} > {NODE_LIFE_S - BEFORE_END_S} and on (node) {used}"
    return Alert("GenaiNodeExpires", expr, 0, "warning", "Node {{ $labels.node }} is replaced within a day.")
