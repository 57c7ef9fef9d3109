from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import yaml

from genai_pipeline.core.record import Record
from genai_pipeline.resources.runs import UNDER_WAY
from tests.faults.exactly_once.installation import Installation, until
from tests.integration.conftest import S3Server
from tests.integration.rollout.location import VERSION

RUNNING_RUNS = {"module": "dagster._core.launcher", "class": "DefaultRunLauncher"}


@dataclass
class Real(Installation):
    """An installation whose runs run. `version` is that of the package that its code server pretends to be."""

    version: str = ""

    def env(self, armed: str = "") -> dict[str, str]:
        here = {"GENAI_PROFILE": "kubernetes", "GENAI_BUCKET": self.bucket, "GENAI_USER": "ada"}
        return {**super().env(armed), **here, VERSION: self.version}

    def restart_code(self) -> None:
        self.stop("code")
        self.start_code()

    def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *args]
        return subprocess.run(command, env=self.env(), capture_output=True, text=True, timeout=60, check=False)

    def press(self, job: str, op: str = "", **config: object) -> None:
        """Launch a job as the UI does, with what was typed in its launchpad."""
        typed = self.home / f"{job}-{uuid.uuid4().hex[:6]}.yaml"
        typed.write_text(yaml.safe_dump({"ops": {op: {"config": config}}} if op else {}))
        workspace = str(self.home / "workspace.yaml")
        pressed = self.command("dagster", "job", "launch", "-w", workspace, "-j", job, "-c", str(typed))
        assert pressed.returncode == 0, pressed.stderr

    def live(self, model: str) -> str | None:
        found = self.records.live(model)
        return found and found.release

    def until_live(self, model: str, before: str | None = None) -> Record:
        """Waits until a release other than `before` is live and its run has ended; returns its record."""
        self.until(lambda: self.live(model) not in (None, before), f"{model} goes live")
        return self.records.require(model, self.live(model) or "")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits for it, and for the end of every run: one takes seconds to start, or a minute if all is busy."""
        until(lambda: bool(condition()) and self.is_quiet(), f"{what}. {self.log()}", 300)

    def is_quiet(self) -> bool:
        return not self.instance.get_run_records(dg.RunsFilter(statuses=list(UNDER_WAY)), limit=1)

    def runs(self, model: str, **tags: str) -> list[dg.DagsterRun]:
        """Those of a model, oldest first."""
        filters = dg.RunsFilter(tags={"genai/model": model} | {f"genai/{k}": v for k, v in tags.items()})
        return [*reversed(self.instance.get_runs(filters))]


@pytest.fixture(scope="module")
def at(start_s3: Callable[[], S3Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """One daemon for a module. The first versions of all models roll out side by side."""
    s3, bucket = start_s3(), f"rollout-{uuid.uuid4().hex[:8]}"
    s3.store(bucket).ensure_bucket()
    home = tmp_path_factory.mktemp("daemon")
    real = Real(home, s3, bucket, location=Path(__file__).with_name("location.py"), launcher=RUNNING_RUNS)
    for model, sections in MODELS.items():
        real.write_model(model, **sections)
        real.publish_weights(model, "v1")
    real.start_code()
    real.start_daemon()
    yield real
    real.close()


MANUAL = {"approval": "manual", "watch_minutes": 0}
MODELS: Mapping[str, Mapping[str, object]] = {
    "changed": {},
    "redeployed": {"rollout": {"watch_minutes": 0, "self_heal": True}},
    "manual": {"rollout": MANUAL},
}
"""By what happens to them; one of each test."""
