"""Startup, readiness and liveness probes of one container, with Kubernetes' defaults and thresholds.

One difference: while nothing listens yet, a probe of the first period is repeated every 0.1 s and not counted. So a
server that is up in a second need not wait for the next period.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import httpx

from genai_pipeline.local.cluster.images import on_this_machine

IMPATIENCE_S = 0.1

Report = Callable[[str, str], None]
"""Called with a reason and a message for every event."""


class Prober:
    """Keeps `started`, `ready` and `dead` true to the container while it runs.

    Args:
        address: of the pod.
        environment: of the container, for exec probes; so is `directory`.
        changed: called when one of the three changed.
        started, ready: what was known of a container that is taken over while it runs.
    """

    def __init__(
        self,
        container: Mapping[str, Any],
        address: str,
        environment: Mapping[str, str],
        directory: str,
        report: Report,
        changed: Callable[[], None],
        started: bool = False,
        ready: bool = False,
    ) -> None:
        self._container, self._address = container, address
        self._environment, self._directory = environment, directory
        self._report, self._changed = report, changed
        self.started = started or not container.get("startupProbe")
        self.ready = ready or (self.started and not container.get("readinessProbe"))
        self.dead = False
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        if not self.started:
            await self._watch("Startup", self._container["startupProbe"], until_success=True)
        watches = [
            self._watch(kind, self._container[field])
            for kind, field in (("Readiness", "readinessProbe"), ("Liveness", "livenessProbe"))
            if self._container.get(field)
        ]
        await asyncio.gather(*watches)

    async def _watch(self, kind: str, probe: Mapping[str, Any], until_success: bool = False) -> None:
        period = probe.get("periodSeconds") or 10
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        successes = failures = 0
        patient_from = time.monotonic() + period
        while not self.dead:
            begun = time.monotonic()
            problem, refused = await self._probe(probe)
            if refused and not self.ready and kind != "Liveness" and time.monotonic() < patient_from:
                await asyncio.sleep(IMPATIENCE_S)
                continue
            successes, failures = (0, failures + 1) if problem else (successes + 1, 0)
            if problem:
                self._report("Unhealthy", f"{kind} probe failed: {problem}")
            if successes >= probe.get("successThreshold", 1):
                self._succeeded(kind)
                if until_success:
                    return
            elif failures >= probe.get("failureThreshold", 3):
                self._failed(kind)
            await asyncio.sleep(max(0.0, begun + period - time.monotonic()))

    def _succeeded(self, kind: str) -> None:
        if kind == "Startup":
            self._set(started=True, ready=not self._container.get("readinessProbe"))
        elif kind == "Readiness":
            self._set(ready=True)

    def _failed(self, kind: str) -> None:
        self._set(ready=False, dead=kind != "Readiness") if kind != "Liveness" else self._set(dead=True)

    def _set(self, **values: bool) -> None:
        if any(getattr(self, name) != value for name, value in values.items()):
            for name, value in values.items():
                setattr(self, name, value)
            self._changed()

    async def _probe(self, probe: Mapping[str, Any]) -> tuple[str | None, bool]:
        """Return what is wrong, if anything, and whether nothing listens."""
        timeout = probe.get("timeoutSeconds", 1)
        try:
            if "httpGet" in probe:
                return await asyncio.wait_for(self._http(probe["httpGet"]), timeout), False
            if "tcpSocket" in probe:
                _, writer = await asyncio.wait_for(self._connect(probe["tcpSocket"]), timeout)
                writer.close()
                return None, False
            return await self._execute(probe["exec"]["command"], timeout), False
        except TimeoutError:
            return f"no answer within {timeout} s", False
        except (ConnectionRefusedError, httpx.ConnectError) as error:
            return f"connection refused ({error})", True
        except (OSError, httpx.HTTPError) as error:
            return f"{type(error).__name__}: {error}", False

    async def _http(self, get: Mapping[str, Any]) -> str | None:
        port = port_number(get["port"], self._container)
        scheme = get.get("scheme", "HTTP").lower()
        url = f"{scheme}://{get.get('host', self._address)}:{port}{get.get('path', '/')}"
        headers = {h["name"]: h["value"] for h in get.get("httpHeaders") or []}
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=None) as client:
            answer = await client.get(url, headers={"User-Agent": "kube-probe", "Connection": "close"} | headers)
        return None if 200 <= answer.status_code < 400 else f"{get.get('path', '/')} answered {answer.status_code}"

    async def _connect(self, tcp: Mapping[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(tcp.get("host", self._address), port_number(tcp["port"], self._container))

    async def _execute(self, command: list[str], timeout_s: float) -> str | None:
        status, output = await execute(command, self._environment, self._directory, timeout_s)
        return None if status == 0 else f"exit code {status}: {output[-200:]}"


async def execute(
    command: list[str], environment: Mapping[str, str], directory: str, timeout_s: float
) -> tuple[int, str]:
    """Run a command beside a container, as exec probes and hooks do. Raises TimeoutError, OSError."""
    process = await asyncio.create_subprocess_exec(
        *on_this_machine(command),
        env=dict(environment),
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout_s)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace").strip()


def port_number(port: int | str, container: Mapping[str, Any]) -> int:
    """A port given by number or by its name among the container's. Raises OSError: no such name."""
    if isinstance(port, int):
        return port
    for known in container.get("ports") or []:
        if known.get("name") == port:
            return known["containerPort"]
    if port.isdigit():
        return int(port)
    raise OSError(f"container {container['name']} has no port named {port!r}")
