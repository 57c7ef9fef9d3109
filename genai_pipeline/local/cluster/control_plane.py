"""The cluster itself: objects in, reconciled state out. api.py speaks HTTP for it.

One loop reconciles: Deployments and RayServices make pods, pods become processes, Services follow the ready pods. An
apply or a probe wakes it; otherwise it looks again every 0.15 s, or every second when all is ready.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from genai_pipeline.core.errors import ClusterUnavailable, NotFound, Refused
from genai_pipeline.gateways.cluster.differences import differences as differences_of
from genai_pipeline.gateways.cluster.pods import shares_of_gpus
from genai_pipeline.local.cluster.addresses import Addresses
from genai_pipeline.local.cluster.autoscalers import Autoscalers
from genai_pipeline.local.cluster.controllers import Controllers
from genai_pipeline.local.cluster.event_log import EventLog
from genai_pipeline.local.cluster.images import known_images
from genai_pipeline.local.cluster.kubelet import Kubelet
from genai_pipeline.local.cluster.node import Node
from genai_pipeline.local.cluster.object_files import ObjectFiles, key_of
from genai_pipeline.local.cluster.objects import ENFORCED, Object, containers_of, namespace_of, timestamp
from genai_pipeline.local.cluster.pod_making import end_pod
from genai_pipeline.local.cluster.ray_services import RayServices
from genai_pipeline.local.cluster.server_side_apply import applied
from genai_pipeline.local.cluster.service_ports import ServicePorts
from genai_pipeline.local.cluster.validate import problems
from genai_pipeline.local.log_files import tail
from genai_pipeline.local.supervision.supervisor import Supervisor

log = logging.getLogger(__name__)

BUSY_S, SETTLED_S = 0.15, 1.0
LOG_BYTES = 512 * 1024


class ControlPlane:
    """Made inside a running event loop; `run` until cancelled."""

    def __init__(self, home: Path, backoff_s: float) -> None:
        folder = home / "cluster"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.store = ObjectFiles(folder / "objects")
        self._wake = asyncio.Event()
        self._events = EventLog(folder / "events.json")
        self._node = Node(
            home=home,
            store=self.store,
            events=self._events,
            supervisor=Supervisor(home),
            addresses=Addresses(folder / "addresses.json"),
            images=known_images(),
            backoff_s=backoff_s,
            wake=self._wake.set,
        )
        self._controllers = Controllers(self._node)
        self._ray_services = RayServices(self._node)
        self._autoscalers = Autoscalers(self._node, self.scale)
        self._kubelet = Kubelet(self._node)
        self._services = ServicePorts(self.store, self._events, self._node.addresses)
        self._services_lock = asyncio.Lock()

    async def run(self) -> None:
        await self._sync_services()
        scaling = asyncio.create_task(self._autoscalers.run())
        try:
            await self._reconcile_again_and_again()
        finally:
            scaling.cancel()

    async def _reconcile_again_and_again(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._reconcile()
            except ClusterUnavailable as error:
                log.warning("%s", error)
            except Exception:  # one broken object must not stop the others
                log.exception("reconciling failed and is tried again")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), SETTLED_S if self._kubelet.settled else BUSY_S)

    def close(self) -> None:
        """Close the ports and stop probing; the pods' processes go on under supervisord."""
        self._kubelet.stop()
        self._ray_services.stop()
        self._services.close()

    async def _reconcile(self) -> None:
        if self._controllers.sync() | self._ray_services.sync():
            self._wake.set()
        await self._sync_services()
        before = self.store.version
        await self._kubelet.sync()
        await self._sync_services()
        if self.store.version != before:
            self._wake.set()

    async def _sync_services(self) -> None:
        async with self._services_lock:
            await self._services.sync()

    # -- what api.py offers

    async def apply(
        self, manifests: Sequence[Any], namespace: str, manager: str, dry_run: bool, take_back: bool = False
    ) -> list[dict[str, Any]]:
        """All of them or, where one is refused, none. Raises Refused."""
        mistakes = [f"{_title(m)}: {problem}" for m in manifests for problem in problems(m)]
        if mistakes:
            raise Refused("\n".join(mistakes))
        results = [self._applied(manifest, namespace, manager, take_back) for manifest in manifests]
        if not dry_run:
            for live, after, _ in results:
                self._keep(live, after)
            await self._sync_services()
            self._wake.set()
        return [result for *_, result in results]

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Raises NotFound."""
        live = self.store.get("Deployment", namespace, name)
        if live is None:
            raise NotFound(f"There is no Deployment {name} in namespace {namespace}.", "Apply it first.")
        self._keep(live, live | {"spec": live["spec"] | {"replicas": replicas}})
        self._wake.set()

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Forget the object; its pods end on their own."""
        live = self.store.get(kind, namespace, name)
        if live is None:
            return
        for obj in self.store.in_namespace(name) if kind == "Namespace" else [live]:
            if obj["kind"] == "Pod":
                end_pod(self._node, obj)
            else:
                self.store.remove(key_of(obj))
        if kind == "Namespace":
            self.store.remove(key_of(live))
        await self._sync_services()
        self._wake.set()

    def events(self, kind: str, namespace: str, name: str) -> list[dict[str, Any]]:
        return self._events.about(namespace, kind, name)

    def logs(self, namespace: str, labels: Mapping[str, str], lines: int) -> str:
        parts: list[str] = []
        for pod in self.store.list("Pod", namespace, labels):
            context = self._node.context(pod)
            for name in (c["name"] for c in containers_of(pod)):
                for path, note in ((context.previous_log(name), " (before its restart)"), (context.log(name), "")):
                    text = tail(path, LOG_BYTES).splitlines()[-lines:]
                    if text:
                        parts += [f"==> {pod['metadata']['name']}/{name}{note} <==", *text]
        return "\n".join(parts)

    def endpoint(self, namespace: str, name: str, port: int | None) -> str:
        """Raises NotFound."""
        service = self.store.get("Service", namespace, name)
        ports = [p["port"] for p in service["spec"]["ports"]] if service else []
        if service is None or (port is not None and port not in ports):
            what = f"port {port} of Service {name}" if service else f"Service {name}"
            has = f"It has {', '.join(map(str, ports))}." if service else "Apply it first."
            raise NotFound(f"There is no {what} in namespace {namespace}.", has)
        return f"http://{self._services.address(service)}:{port or ports[0]}"

    def headroom(self) -> dict[str, Any]:
        """As abc.Headroom. Processes share the CPUs, so only memory and GPUs are counted."""
        used = sum(shares_of_gpus(pod["spec"]) for pod in self.store.list("Pod"))
        gpus = len([path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit()])
        memory_gib = round(psutil.virtual_memory().available / 2**30, 2)
        source = "this machine's available memory and GPU devices"
        return {"memory_gib": memory_gib, "cpu": None, "gpus": round(max(0.0, gpus - used), 3), "source": source}

    def _applied(
        self, manifest: Object, namespace: str, manager: str, take_back: bool
    ) -> tuple[Object | None, Object, dict[str, Any]]:
        kind, meta = manifest["kind"], dict(manifest["metadata"])
        space = namespace_of(kind, manifest, namespace)
        if space:
            meta["namespace"] = space
        live = self.store.get(kind, space, meta["name"])
        after = applied(live, manifest | {"metadata": meta}, manager, take_back)
        differences = list(differences_of(live, after)) if live else [("metadata.name", meta["name"], None)]
        action = "created" if live is None else "configured" if differences or live != after else "unchanged"
        result = {
            "kind": kind,
            "name": meta["name"],
            "action": action,
            "enforced": kind in ENFORCED,
            "differences": differences,
        }
        return live, after, result

    def _keep(self, live: Object | None, after: Object) -> None:
        if live == after:
            return
        meta = after["metadata"]
        if live is None:
            meta = meta | {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp(time.time()), "generation": 1}
        elif live.get("spec") != after.get("spec"):
            meta = meta | {"generation": live["metadata"]["generation"] + 1}
        self._ensure_namespace(meta.get("namespace", ""))
        self.store.put(after | {"metadata": meta})

    def _ensure_namespace(self, name: str) -> None:
        if name and not self.store.get("Namespace", "", name):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self._keep(None, namespace)


def _title(manifest: Any) -> str:
    if not isinstance(manifest, Mapping):
        return "object"
    meta = manifest.get("metadata")
    name = meta.get("name") if isinstance(meta, Mapping) else None
    return f"{manifest.get('kind') or 'object'} {name or 'without a name'}"
