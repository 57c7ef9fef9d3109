"""Where alerts go: the route of Alertmanager, the same one on a cluster and on one machine.

`critical` means that users are hurt now: it is sent at once, and again every hour. All else may wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CRITICAL, WARNING = "critical", "warning"


def alert_routing(webhooks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return `route`, `receivers` and `inhibit_rules` of a configuration of Alertmanager.

    Args:
        webhooks: severity -> fields of `webhook_configs` that say where it is, such as `url`.
    """
    at_once = {
        "receiver": CRITICAL,
        "matchers": [f'severity = "{CRITICAL}"'],
        "group_wait": "10s",
        "group_interval": "1m",
        "repeat_interval": "1h",
    }
    return {
        "route": {
            "receiver": WARNING,
            "group_by": ["alertname", "namespace", "model"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "12h",
            "routes": [at_once],
        },
        "receivers": [
            {"name": name, "webhook_configs": [{**webhooks[name], "send_resolved": True}]}
            for name in (CRITICAL, WARNING)
        ],
        "inhibit_rules": [
            # An engine that is not seen has no other figures.
            _hides("GenaiEngineUnseen", "Genai.+", "namespace", "model"),
            # Both are about late first outputs, one of them much worse.
            _hides("GenaiFirstOutputLate", "GenaiFirstOutputSlow", "namespace", "model", "release"),
        ],
    }


def _hides(alert: str, others: str, *equal: str) -> dict[str, Any]:
    return {
        "source_matchers": [f'alertname = "{alert}"'],
        "target_matchers": [f'alertname =~ "{others}"'],
        "equal": list(equal),
    }
