"""The real Prometheus operator, what it writes for a Prometheus, and a Prometheus on this machine that runs it.

No pod of a Prometheus is needed: the operator keeps the whole configuration in a Secret and in ConfigMaps.
"""

from __future__ import annotations

import base64
import copy
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from genai_pipeline.local.ports import free_port
from tests.cluster.machine.objects import api, apply
from tests.cluster.operators.beside_the_cluster import apply_kinds, program
from tests.cluster.operators.operator_builds import PROMETHEUS
from tests.fakes.prometheus import Prometheus, until_ready
from tests.fakes.signing_prometheus import WITHOUT, signing_prometheus

CHART = "kube-prometheus-stack"
VALUES = Path(__file__).parents[3] / "deploy" / "observability"
PLACES = {"REGION": "eu-north-1", "WORKSPACE": "ws-1", "CLUSTER": "ours"}
"""What a user puts in place of the words of the values."""
_RULES = "/etc/prometheus/rules"
_BY_RELOADER = {"$(SHARD)": "0", "$(POD_NAME)": "prometheus-0"}
"""What the sidecar of the operator's pods fills in."""


def values(chart: str) -> dict[str, Any]:
    """Return the values that we ship for a chart."""
    text = (VALUES / f"{chart}.yaml").read_text()
    for word, place in PLACES.items():
        text = text.replace(word, place)
    return yaml.safe_load(text)


def prometheus_object(namespace: str, **changed: Any) -> dict[str, Any]:
    """Return the Prometheus that the chart makes of our values. A change to None takes a field away.

    Source: kube-prometheus-stack, templates/prometheus/prometheus.yaml: it selects by the name of its release.
    """
    ours = {"matchLabels": {"release": CHART}}
    spec = {f"{kind}Selector": ours for kind in ("podMonitor", "serviceMonitor", "rule")}
    spec |= values(CHART)["prometheus"]["prometheusSpec"]
    spec |= {"replicas": 1, "serviceAccountName": "prometheus"} | changed
    spec = {field: value for field, value in spec.items() if value is not None}
    metadata = {"name": CHART, "namespace": namespace}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": metadata, "spec": spec}


def host_program(name: str) -> str:
    """Return `prometheus` or `promtool` as a program of this machine that reads what is written. Skips without one."""
    found = signing_prometheus() or pytest.skip(WITHOUT)
    return str(Path(found).with_name(name))


@contextmanager
def prometheus_operator(cluster: Any, folder: Path) -> Iterator[None]:
    """Run the operator beside a cluster. Args: folder: for its log."""
    apply_kinds(cluster, PROMETHEUS)
    words = [f"--web.listen-address=127.0.0.1:{free_port()}", "--kubelet-endpoints=false"]
    command = [PROMETHEUS.program("prometheus-operator"), *words]
    with program(command, folder / "operator.log", KUBECONFIG=str(cluster.kubeconfig)):
        yield


class Generated:
    """What the operator wrote for the Prometheus of a namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.kubeconfig, self.namespace = kubeconfig, namespace

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects, those of a namespace into this one."""
        given = [o if "namespace" in o["metadata"] else o | {"metadata": o["metadata"] | {"namespace": self.namespace}}
                 for o in objects]  # fmt: skip
        apply(self.kubeconfig, given)

    def configuration(self) -> dict[str, Any]:
        """Return the configuration of Prometheus, or an empty one before there is any."""
        return self._unpacked(f"prometheus-{CHART}", "prometheus.yaml.gz")

    def alerting(self) -> dict[str, Any]:
        """Return the configuration of Alertmanager, or an empty one before there is any."""
        return self._unpacked(f"alertmanager-{CHART}-generated", "alertmanager.yaml.gz")

    def _unpacked(self, secret: str, key: str) -> dict[str, Any]:
        with api(self.kubeconfig) as connection:
            try:
                found: Any = client.CoreV1Api(connection).read_namespaced_secret(secret, self.namespace)
            except ApiException as error:
                if error.status != 404:
                    raise
                return {}
        packed = (found.data or {}).get(key)
        return yaml.safe_load(gzip.decompress(base64.b64decode(packed))) if packed else {}

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Return the scrape configurations of this namespace by monitor, as `podMonitor/genai-engine`."""
        found: dict[str, dict[str, Any]] = {}
        for job in self.configuration().get("scrape_configs") or []:
            kind, namespace, *rest = job["job_name"].split("/")
            if namespace == self.namespace:
                found[f"{kind}/{rest[0]}"] = job
        return found

    def rule_files(self) -> dict[str, str]:
        """Return name and text of every file with rules of this namespace."""
        with api(self.kubeconfig) as connection:
            listed: Any = client.CoreV1Api(connection).list_namespaced_config_map(self.namespace)
        prefix = f"prometheus-{CHART}-rulefiles-"
        parts = [found.data or {} for found in listed.items if found.metadata.name.startswith(prefix)]
        return {name: text for part in parts for name, text in part.items() if name.startswith(f"{self.namespace}-")}

    def groups(self) -> set[str]:
        """Return the names of all groups of rules."""
        return {group["name"] for text in self.rule_files().values() for group in yaml.safe_load(text)["groups"]}

    def write(self, folder: Path) -> Path:
        """Write it with its rules as files for this machine; returns the configuration."""
        (folder / "rules").mkdir(parents=True, exist_ok=True)
        for name, text in self.rule_files().items():
            (folder / "rules" / name).write_text(text)
        found = copy.deepcopy(self.configuration())
        found["rule_files"] = [f"{folder}/rules/*.yaml"]
        for job in found["scrape_configs"]:
            for discovery in job.get("kubernetes_sd_configs") or []:
                discovery["kubeconfig_file"] = str(self.kubeconfig)
        text = yaml.safe_dump(found)
        for word, value in _BY_RELOADER.items():
            text = text.replace(word, value)
        (folder / "prometheus.yml").write_text(text)
        return folder / "prometheus.yml"

    @contextmanager
    def running(self, folder: Path, address: str, port: int) -> Iterator[Prometheus]:
        """Run a Prometheus by it. What it says about itself is scraped, too, as the chart's own monitor has it."""
        configuration = self.write(folder)
        with_itself = yaml.safe_load(configuration.read_text())
        itself = {"job_name": "itself", "static_configs": [{"targets": [f"{address}:{port}"]}], "scrape_interval": "1s"}
        with_itself["scrape_configs"].append(itself)
        configuration.write_text(yaml.safe_dump(with_itself))
        options = [f"--config.file={configuration}", f"--storage.tsdb.path={folder}/data"]
        log = folder / "prometheus.log"
        with program([host_program("prometheus"), *options, f"--web.listen-address={address}:{port}"], log) as process:
            until_ready(f"http://{address}:{port}", process, log)
            yield Prometheus(f"http://{address}:{port}")
