"""What every pod on this machine shares."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genai_pipeline.local.cluster.addresses import Addresses
from genai_pipeline.local.cluster.container import PodContext
from genai_pipeline.local.cluster.event_log import EventLog
from genai_pipeline.local.cluster.object_files import ObjectFiles
from genai_pipeline.local.cluster.objects import Object
from genai_pipeline.local.log_files import tail
from genai_pipeline.local.supervision.supervisor import ProcessInfo, Supervisor

LOG_TAIL = 64 * 1024


@dataclass(frozen=True)
class Node:
    """`backoff_s` is the wait before a container's second restart; it doubles with each. `wake` asks for a sync."""

    home: Path
    store: ObjectFiles
    events: EventLog
    supervisor: Supervisor
    addresses: Addresses
    images: Mapping[str, Sequence[str]]
    backoff_s: float
    wake: Callable[[], None]

    def context(self, pod: Object) -> PodContext:
        meta = pod["metadata"]
        return PodContext(
            pod=pod,
            folder=self.home / "cluster" / "pods" / f"{meta['namespace']}.{meta['name']}",
            images=self.images,
            find=lambda kind, name: self.store.get(kind, meta["namespace"], name),
            service_address=lambda namespace, name: self.addresses.service(namespace, name),
        )

    def exit_code(self, program: str, process: ProcessInfo | None) -> tuple[int, str]:
        """The exit code as Kubernetes has it (128 + signal), and what is known of a signal."""
        if process is None or process.exit_status is None:
            return 137, "its supervisor was restarted"
        if process.exit_status >= 0:
            return process.exit_status, ""
        name = self._signal_of(program)
        if name is None:
            return 137, "ended by a signal"
        why = "killed by SIGKILL; perhaps the machine ran out of memory" if name == "SIGKILL" else f"ended by {name}"
        return 128 + signal.Signals[name], why

    def _signal_of(self, program: str) -> str | None:
        """supervisord tells the signal in its log only."""
        pattern = rf"(?:exited|stopped): {re.escape(program)} \(terminated by (SIG[A-Z0-9]+)"
        found = re.findall(pattern, tail(self.home / "supervisord.log", LOG_TAIL))
        return found[-1] if found and found[-1] in signal.Signals.__members__ else None
