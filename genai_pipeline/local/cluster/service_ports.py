"""Services: addresses, ports and the pods behind them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from genai_pipeline.gateways.cluster.pods import condition, is_ready
from genai_pipeline.local.cluster.addresses import Addresses
from genai_pipeline.local.cluster.event_log import EventLog
from genai_pipeline.local.cluster.forwarder import Backend, Forwarder
from genai_pipeline.local.cluster.object_files import Key, ObjectFiles, key_of
from genai_pipeline.local.cluster.objects import Object, pod_ready, transition
from genai_pipeline.local.cluster.probes import port_number


class ServicePorts:
    """Keeps a Forwarder per Service port, with the ready pods of the selector behind it."""

    def __init__(self, store: ObjectFiles, events: EventLog, addresses: Addresses) -> None:
        self._store, self._events, self._addresses = store, events, addresses
        self._forwarders: dict[Key, dict[int, Forwarder]] = {}

    async def sync(self) -> None:
        services = {key_of(s): s for s in self._store.list("Service")}
        for key in self._forwarders.keys() - services.keys():
            for forwarder in self._forwarders.pop(key).values():
                forwarder.release()
        for key, service in services.items():
            await self._sync_one(key, service)

    def close(self) -> None:
        for forwarders in self._forwarders.values():
            for forwarder in forwarders.values():
                forwarder.close()

    def address(self, service: Object) -> str:
        meta = service["metadata"]
        ports = [p["port"] for p in service["spec"].get("ports") or []]
        return self._addresses.service(meta["namespace"], meta["name"], ports)

    async def _sync_one(self, key: Key, service: Object) -> None:
        address = self.address(service)
        forwarders = self._forwarders.setdefault(key, {})
        ports = {p["port"]: p for p in service["spec"].get("ports") or []}
        for number in forwarders.keys() - ports.keys():
            forwarders.pop(number).release()
        taken: list[str] = []
        for number, port in ports.items():
            forwarder = forwarders.setdefault(number, Forwarder(address, number))
            try:
                await forwarder.set_backends(list(self._backends(service, port)))
            except OSError as error:
                taken.append(f"{address}:{number} cannot be listened on: {error.strerror or error}")
        self._report(key, address, taken)

    def _backends(self, service: Object, port: Mapping[str, Any]) -> Iterable[Backend]:
        selector = service["spec"].get("selector")
        if not selector:
            return
        pods = self._store.list("Pod", service["metadata"]["namespace"], selector)
        # As kube-proxy does: where every pod is about to end, those that still answer are better than none.
        ready = [p for p in pods if pod_ready(p)] or [p for p in pods if is_ready(p)]
        for pod in pods if service["spec"].get("publishNotReadyAddresses") else ready:
            number = _target(port, pod)
            if number:
                yield pod["status"]["podIP"], number

    def _report(self, key: Key, address: str, taken: list[str]) -> None:
        status = "False" if taken else "True"

        def change(service: Object) -> Object:
            spec = {"clusterIP": address} | service["spec"]
            reason = "PortTaken" if taken else "PortsBound"
            listening = transition(service, "PortsListening", status, reason, "; ".join(taken), time.time())
            return service | {"spec": spec, "status": {"loadBalancer": {}, "conditions": [listening]}}

        before = self._store.get(*key)
        after = self._store.update(key, change)
        if taken and after and condition(before or {}, "PortsListening") != condition(after, "PortsListening"):
            self._events.record(after, "Warning", "PortTaken", "; ".join(taken))


def _target(port: Mapping[str, Any], pod: Object) -> int | None:
    wanted = port.get("targetPort", port["port"])
    for container in pod["spec"]["containers"]:
        try:
            return port_number(wanted, container)
        except OSError:
            continue
    return None
