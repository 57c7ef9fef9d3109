"""The chart charts/strands-agent, as the real helm sees it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.unit.k8s.everything import Object

CHART = Path(__file__).parents[3] / "charts" / "strands-agent"
HELM = str(Path(sys.executable).with_name("helm"))
if not Path(HELM).exists():
    HELM = shutil.which("helm") or HELM
POD_POLICIES = (
    "memory_is_limited_and_asked_for",
    "what_is_written_is_bounded",
    "nothing_is_privileged",
    "every_capability_is_dropped",
    "nobody_is_root",
    "the_root_file_system_is_read_only",
    "system_calls_are_filtered",
    "no_secret_stands_in_a_manifest",
    "services_do_not_leak_into_environments",
)
"""What holds of every pod that a chart makes, by the names in POLICIES."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there

EVERYTHING: dict[str, Any] = {
    "autoscaling": {"enabled": True},
    "model": {
        "existingSecret": {"name": "model"},
        "fallbacksExistingSecret": {"name": "fallbacks"},
        "fallbacks": ["bedrock:us.amazon.nova-pro-v1:0", "openai:x@http://m:1/v1"],
    },
    "sessions": {"store": "s3://bucket/sessions", "ttlSeconds": 3600, "maxBytes": 20_000_000},
    "aws": {"region": "eu-west-1", "existingSecret": "keys"},
    "auth": {"existingSecret": {"name": "callers"}},
    "limits": {
        "maxConcurrent": 64,
        "deadlineSeconds": 90,
        "maxToolCycles": 8,
        "maxRequestTokens": 2_000_000,
        "maxPromptChars": 8000,
    },
    "mcpServers": [{"name": "docs", "url": "http://mcp.tools.svc:9000/mcp", "tools": ["search"]}],
    "otlp": {"endpoint": "http://otel:4318", "exportPrompts": True},
    "extraEnv": [{"name": "LANG", "value": "C.UTF-8"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/agent"}},
    "serviceMonitor": {"enabled": True},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "networkPolicy": {"extraEgress": [{"ports": [{"protocol": "TCP", "port": 25}]}]},
}
"""Every value that makes a difference, set."""


def lint(values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return _asked((HELM, "lint", "--strict", str(CHART), "--values", "-"), json.dumps(values))


def templated(
    values: dict[str, Any] | None = None, *more: str, name: str = "agent", namespace: str = "genai", chart: Path = CHART
) -> list[Object]:
    """What `helm template` gives; the pods of `helm test` only --with-tests."""
    skip: Sequence[str] = [] if "--with-tests" in more else ["--skip-tests"]
    words = [word for word in more if word != "--with-tests"]
    done = _template([*words, *skip], values, name, namespace, chart)
    if done.returncode:
        raise ValueError(done.stderr)
    return [document for document in yaml.load_all(done.stdout, LOADER) if document]


def refusal(values: dict[str, Any]) -> str:
    """Why helm does not take the values; empty where it does."""
    done = _template([], values, "agent", "genai", CHART)
    return done.stderr if done.returncode else ""


def _template(
    words: Sequence[str], values: dict[str, Any] | None, name: str, namespace: str, chart: Path
) -> subprocess.CompletedProcess[str]:
    command = [HELM, "template", name, str(chart), "--namespace", namespace, "--values", "-", *words]
    return _asked(tuple(command), json.dumps(values or {}))


@cache
def _asked(command: tuple[str, ...], values: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=values, capture_output=True, text=True, check=False, timeout=60)


def by_kind(objects: list[Object]) -> dict[str, Object]:
    """Every kind of this chart comes once."""
    assert len({o["kind"] for o in objects}) == len(objects)
    return {o["kind"]: o for o in objects}
