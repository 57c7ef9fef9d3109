"""One pod: starts its containers' processes, watches them, restarts them with back-off, ends them.

State that must survive the daemon is in the pod object (and in supervisord); a runner that is made for a pod
with running processes takes them over. Called by Kubelet.sync with supervisord's present view.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx

from genai_pipeline.core.errors import ClusterUnavailable
from genai_pipeline.local.cluster import pod_status
from genai_pipeline.local.cluster.container import (
    ConfigMissing,
    PodContext,
    command_and_environment,
    program_of,
)
from genai_pipeline.local.cluster.images import UnknownImage
from genai_pipeline.local.cluster.node import Node
from genai_pipeline.local.cluster.object_files import Key, key_of
from genai_pipeline.local.cluster.objects import Object, containers_of, program_name, seconds_of, terminating
from genai_pipeline.local.cluster.probes import Prober, execute, port_number
from genai_pipeline.local.supervision.supervisor import STOPPED, ProcessInfo, end_group

Processes = Mapping[str, ProcessInfo]
Container = Mapping[str, Any]

RETRY_CONFIG_S = 1.0
PROMPT_EXIT_S = 0.03
"""Most servers end so soon after the signal; looking then saves a round."""


class PodRunner:
    def __init__(self, node: Node, pod: Object) -> None:
        self._node = node
        self._key: Key = key_of(pod)
        self._probers: dict[str, Prober] = {}
        self._killed: set[str] = set()
        self._retry_at: dict[str, float] = {}
        self._ending: asyncio.Task[None] | None = None

    async def sync(self, processes: Processes) -> None:
        """Bring the pod one step further."""
        pod = self._pod()
        if pod is None:
            return
        if terminating(pod):
            await self._end(pod, processes)
            return
        first = await self._sync_init_containers(pod, processes)
        if all(map(pod_status.completed, first)):
            statuses = [await self._sync_container(pod, c, processes) for c in pod["spec"]["containers"]]
        else:
            statuses = [pod_status.of_container(pod, c) for c in pod["spec"]["containers"]]
        self._node.store.update(self._key, lambda live: pod_status.with_containers(live, first, statuses, time.time()))

    def stop_probing(self) -> None:
        for prober in self._probers.values():
            prober.stop()
        self._probers.clear()
        if self._ending:
            self._ending.cancel()

    def _pod(self) -> Object | None:
        return self._node.store.get(*self._key)

    # -- running

    async def _sync_init_containers(self, pod: Object, processes: Processes) -> list[dict[str, Any]]:
        """One after the other: the next one starts when the one before has ended well."""
        statuses: list[dict[str, Any]] = []
        for container in pod["spec"].get("initContainers") or []:
            status = pod_status.of_container(pod, container, pod_status.INIT)
            if all(map(pod_status.completed, statuses)) and not pod_status.completed(status):
                status = await self._sync_init(pod, container, status, processes)
            statuses.append(status)
        return statuses

    async def _sync_init(
        self, pod: Object, container: Container, status: dict[str, Any], processes: Processes
    ) -> dict[str, Any]:
        process = processes.get(program_name(pod, container["name"]))
        if process is not None and process.state not in STOPPED:
            started = status["state"].get("running") or {"startedAt": pod_status.now()}
            return status | {"state": {"running": started}, "containerID": f"process://{process.pid}"}
        if "running" in status["state"]:
            status = self._exited(pod, container, status, process, is_init=True)
        if pod_status.completed(status) or time.time() < self._due(status, container["name"]):
            return status
        return await self._start(pod, container, status)

    async def _sync_container(self, pod: Object, container: Container, processes: Processes) -> dict[str, Any]:
        name = container["name"]
        status = pod_status.of_container(pod, container)
        process = processes.get(program_name(pod, name))
        if process is not None and process.state not in STOPPED:
            return self._running(pod, container, status, process)
        self._drop_prober(name)
        if "running" in status["state"]:
            status = self._exited(pod, container, status, process)
        if time.time() < self._due(status, name):
            return status
        return await self._start(pod, container, status)

    def _running(
        self, pod: Object, container: Container, status: dict[str, Any], process: ProcessInfo
    ) -> dict[str, Any]:
        name = container["name"]
        if "running" not in status["state"]:
            status |= {"state": {"running": {"startedAt": pod_status.now()}}}
        prober = self._probers.get(name) or self._new_prober(pod, container, status)
        if prober.dead and name not in self._killed:
            self._killed.add(name)
            self._event(pod, "Normal", "Killing", f"Container {name} failed its probe and will be restarted")
            asyncio.get_running_loop().create_task(self._kill(pod, name))
        ready = prober.ready and name not in self._killed
        return status | {"started": prober.started, "ready": ready, "containerID": f"process://{process.pid}"}

    async def _kill(self, pod: Object, name: str) -> None:
        with suppress(ClusterUnavailable):
            await asyncio.to_thread(self._node.supervisor.stop, program_name(pod, name), False)
        await asyncio.sleep(PROMPT_EXIT_S)
        self._node.wake()

    def _exited(
        self,
        pod: Object,
        container: Container,
        status: dict[str, Any],
        process: ProcessInfo | None,
        is_init: bool = False,
    ) -> dict[str, Any]:
        name = container["name"]
        self._killed.discard(name)
        _end_group(status)
        program = program_name(pod, name)
        code, why = self._node.exit_code(program, process)
        failed = pod_status.after_exit(status, code, why, time.time(), self._node.backoff_s, is_init)
        waiting = failed["state"].get("waiting")
        if waiting:
            self._event(
                pod, "Warning", "BackOff", f"Container {name} ended with exit code {code}; {waiting['message']}"
            )
        return failed

    def _due(self, status: Mapping[str, Any], name: str) -> float:
        """When the container may start."""
        return max(self._retry_at.get(name, 0), pod_status.restart_at(status, self._node.backoff_s))

    async def _start(self, pod: Object, container: Container, status: dict[str, Any]) -> dict[str, Any]:
        name = container["name"]
        context = self._context(pod)
        try:
            program = program_of(container, context)
        except UnknownImage as error:
            return self._cannot_start(pod, name, status, "ErrImagePull", str(error))
        except (ConfigMissing, OSError) as error:
            return self._cannot_start(pod, name, status, "CreateContainerConfigError", str(error))
        restart = bool(status["lastState"]) or "terminated" in status["state"]
        if restart:
            with suppress(FileNotFoundError):  # supervisord opens a new one when it starts the process
                context.log(name).replace(context.previous_log(name))
        await asyncio.to_thread(self._node.supervisor.start, program)
        self._retry_at.pop(name, None)
        self._event(pod, "Normal", "Started", f"Started container {name}")
        running = {"state": {"running": {"startedAt": pod_status.now()}}, "started": False, "ready": False}
        return status | running | {"restartCount": status["restartCount"] + restart, "containerID": ""}

    def _cannot_start(self, pod: Object, name: str, status: dict[str, Any], reason: str, why: str) -> dict[str, Any]:
        self._retry_at[name] = time.time() + RETRY_CONFIG_S
        waiting = {"reason": reason, "message": why}
        if status["state"] != {"waiting": waiting}:
            self._event(pod, "Warning", "Failed", f"Container {name}: {reason}: {why}")
        return status | {"state": {"waiting": waiting}, "ready": False, "started": False}

    def _new_prober(self, pod: Object, container: Container, status: Mapping[str, Any]) -> Prober:
        _, environment = self._command_and_environment(pod, container)
        prober = Prober(
            container,
            pod["status"]["podIP"],
            environment,
            str(self._context(pod).folder),
            lambda reason, message: self._event(pod, "Warning", reason, f"Container {container['name']}: {message}"),
            self._node.wake,
            started=status.get("started", False),
            ready=status.get("ready", False),
        )
        self._probers[container["name"]] = prober
        return prober

    def _command_and_environment(self, pod: Object, container: Container) -> tuple[list[str], dict[str, str]]:
        try:
            return command_and_environment(container, self._context(pod))
        except (ConfigMissing, UnknownImage, OSError):  # gone since it started
            return [], {}

    def _drop_prober(self, name: str) -> None:
        prober = self._probers.pop(name, None)
        if prober:
            prober.stop()

    def _context(self, pod: Object) -> PodContext:
        return self._node.context(pod)

    def _event(self, pod: Object, kind: str, reason: str, message: str) -> None:
        self._node.events.record(pod, kind, reason, message)

    # -- ending

    async def _end(self, pod: Object, processes: Processes) -> None:
        """preStop, stop signal, SIGKILL at the pod's deletionTimestamp; then the pod is gone."""
        names = [program_name(pod, c["name"]) for c in containers_of(pod)]
        mine = {name: processes.get(name) for name in names}
        left = [p for p in mine.values() if p is not None and p.state not in STOPPED]
        if not left:
            await self._gone(pod, list(mine))
            return
        if self._ending is None:
            self.stop_probing()
            self._event(pod, "Normal", "Killing", "Stopping the pod's containers")
            self._ending = asyncio.create_task(self._stop_all(pod, left))
        if time.time() > seconds_of(pod["metadata"]["deletionTimestamp"]):
            for process in left:
                end_group(process.pid)

    async def _stop_all(self, pod: Object, left: list[ProcessInfo]) -> None:
        by_name = {program_name(pod, c["name"]): c for c in containers_of(pod)}
        await asyncio.gather(*(self._stop_one(pod, by_name[p.name], p) for p in left))

    async def _stop_one(self, pod: Object, container: Container, process: ProcessInfo) -> None:
        hook = (container.get("lifecycle") or {}).get("preStop")
        remaining = seconds_of(pod["metadata"]["deletionTimestamp"]) - time.time()
        if hook and process.state != "STOPPING" and remaining > 0:
            try:
                await asyncio.wait_for(self._hook(pod, container, hook), remaining)
            except (TimeoutError, OSError, httpx.HTTPError) as error:
                message = f"Container {container['name']}: preStop: {error or 'ran into the grace period'}"
                self._event(pod, "Warning", "FailedPreStopHook", message)
        await self._kill(pod, container["name"])

    async def _hook(self, pod: Object, container: Container, hook: Mapping[str, Any]) -> None:
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
        elif "exec" in hook:
            _, environment = self._command_and_environment(pod, container)
            folder = str(self._context(pod).folder)
            status, output = await execute(hook["exec"]["command"], environment, folder, timeout_s=3600)
            if status:
                raise OSError(f"exit code {status}: {output[-200:]}")
        else:
            get = hook["httpGet"]
            url = f"http://{pod['status']['podIP']}:{port_number(get['port'], container)}{get.get('path', '/')}"
            async with httpx.AsyncClient(trust_env=False, timeout=None) as client:
                await client.get(url)

    async def _gone(self, pod: Object, programs: list[str]) -> None:
        self.stop_probing()
        for status in [s for field in (pod_status.INIT, pod_status.OWN) for s in pod["status"].get(field) or []]:
            _end_group(status)
        for program in programs:
            await asyncio.to_thread(self._node.supervisor.remove, program)
        context = self._context(pod)
        for folder in (context.scratch, context.folder, context.short_folder):
            shutil.rmtree(folder, ignore_errors=True)
        self._node.store.remove(self._key)


def _end_group(status: Mapping[str, Any]) -> None:
    pid = status.get("containerID", "").removeprefix("process://")
    if pid.isdigit():
        end_group(int(pid))
