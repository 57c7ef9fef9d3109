"""Dagster's daemon and a code server as processes, which may die, over one storage and one S3."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.scheduler.instigation import TickStatus

from genai_pipeline.core.faults import ARMED_BY
from genai_pipeline.core.record import Phase
from genai_pipeline.local.ports import free_port
from genai_pipeline.resources.runs import UNDER_WAY
from genai_pipeline.rollout.record.records import Records
from tests.fakes.model_texts import with_tools
from tests.fakes.weights import safetensors
from tests.integration.conftest import S3Server

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
DEADLINE_S = 60.0
COUNTING = {"module": "tests.faults.exactly_once.launcher", "class": "CountingLauncher"}


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s:g} s in vain: {what}"
        time.sleep(0.05)


@dataclass
class Installation:
    """One DAGSTER_HOME; models are published one after the other, each as a folder of weights.

    Args:
        location: the file of the code location.
        launcher: as in dagster.yaml.
    """

    home: Path
    s3: S3Server
    bucket: str
    storage: Mapping[str, object] = field(default_factory=dict)
    models: int = 0
    location: Path = HERE / "location.py"
    launcher: Mapping[str, str] = field(default_factory=lambda: COUNTING)
    port: int = field(default_factory=free_port)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.home / "models").mkdir(parents=True)
        for number in range(self.models):
            self.write_model(self.name(number))
        config = {
            "telemetry": {"enabled": False},
            "run_launcher": dict(self.launcher),
            "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
            **self.storage,
        }
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(config))
        workspace = {"load_from": [{"grpc_server": {"host": "127.0.0.1", "port": self.port, "location_name": "genai"}}]}
        (self.home / "workspace.yaml").write_text(yaml.safe_dump(workspace))
        self.instance = dg.DagsterInstance.from_config(str(self.home))
        self.records = Records(self.s3.store(self.bucket))

    @staticmethod
    def name(number: int) -> str:
        return f"m{number}"

    def write_model(self, name: str, **sections: object) -> None:
        """Its file; the code location reads it when it is started."""
        model = {
            "name": name,
            "source": {"folder": str(self._weights(name)), "licences": ["any"]},
            "rollout": {"watch_minutes": 0},
        }
        (self.home / "models" / f"{name}.yaml").write_text(with_tools(yaml.safe_dump(model | sections)))

    def publish(self, number: int) -> None:
        self.publish_weights(self.name(number), self.name(number))

    def publish_weights(self, name: str, content: str) -> None:
        folder = self._weights(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_bytes(safetensors(content.encode() * 10))
        (folder / "config.json").write_text("{}")
        (folder / "chat_template.jinja").write_text("{{ messages }}")

    def start_code(self, armed: str = "") -> None:
        command = ["dagster", "api", "grpc", "-f", str(self.location), "-a", "defs", "-p", str(self.port)]
        self._start("code", ["-m", *command, "-h", "127.0.0.1", "-d", str(ROOT)], armed)
        # A daemon that finds nobody there looks again after a minute.
        until(self._code_answers, f"the code server answers. {self.log()}")

    def start_daemon(self, armed: str = "") -> None:
        self._start("daemon", [str(HERE / "daemon.py"), "-w", str(self.home / "workspace.yaml")], armed)

    def has_died(self, process: str) -> bool:
        return self._processes[process].poll() is not None

    def end(self, process: str, grace_s: float = DEADLINE_S) -> None:
        """Wait for its end; what was told to stop and hangs is killed, as an orchestrator would."""
        with suppress(subprocess.TimeoutExpired):
            self._processes[process].wait(grace_s)
        self._processes[process].kill()
        self._processes[process].wait()

    def stop(self, process: str) -> None:
        running = self._processes.pop(process)
        running.kill()
        running.wait()

    def close(self) -> None:
        for process in list(self._processes):
            self.stop(process)
        self.instance.dispose()

    def play_runs(self) -> None:
        """Let every run that was launched take its release live, as far as the records go."""
        for record in self.instance.get_run_records(dg.RunsFilter(statuses=list(UNDER_WAY))):
            run = record.dagster_run
            if run.run_id in [line[2] for line in self.launched()]:
                release = self.records.update(
                    run.tags["genai/model"], run.tags["genai/release"], lambda r: r.in_phase(Phase.LIVE)
                )
                self.records.set_live(release.as_release)
                self.instance.report_run_canceled(run)

    def is_live(self, number: int) -> bool:
        self.play_runs()
        return self.records.live(self.name(number)) is not None

    def launched(self, number: int | None = None) -> list[list[str]]:
        """Release, attempt and run of every launch, or of those of one model."""
        with suppress(FileNotFoundError):
            lines = [line.split() for line in (self.home / "launched").read_text().splitlines()]
            live = self.records.live(self.name(number)) if number is not None else None
            return [line for line in lines if number is None or (live and line[0] == live.release)]
        return []

    def runs_of(self, release: str) -> list[str]:
        """The rollouts of it, and no redeploys."""
        runs = self.instance.get_runs(dg.RunsFilter(tags={"genai/release": release}))
        return [run.run_id for run in runs if "genai/attempt" in run.tags]

    def ticks(self) -> int:
        """Evaluations of the sensor that came to an end."""
        ended = [TickStatus.SKIPPED, TickStatus.SUCCESS]
        states = self.instance.all_instigator_state()
        found = [self.instance.get_ticks(s.instigator_origin_id, s.selector_id, statuses=ended) for s in states]
        return sum(map(len, found))

    def log(self) -> str:
        return "".join(f.read_text()[-3000:] for f in sorted(self.home.glob("*.log")))

    def _code_answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _weights(self, name: str) -> Path:
        return self.home / "weights" / name

    def env(self, armed: str = "") -> dict[str, str]:
        """What its processes are told."""
        return {
            **os.environ,
            **self.s3.env,
            "DAGSTER_HOME": str(self.home),
            "EXACTLY_ONCE_HOME": str(self.home),
            "EXACTLY_ONCE_BUCKET": self.bucket,
            "GENAI_MAX_ROLLOUTS": "1000",
            "PYTHONPATH": str(ROOT),
            ARMED_BY: armed,
        }

    def _start(self, name: str, command: list[str], armed: str) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *command], env=self.env(armed), stdout=log, stderr=log
            )
