"""A run launcher that starts no process: it counts. The test plays the runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from genai_pipeline.core.faults import crash_point


class CountingLauncher(RunLauncher, ConfigurableClass):
    """Appends a line to a file below EXACTLY_ONCE_HOME: release, attempt, id of the run."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> CountingLauncher:
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        if "genai/attempt" not in run.tags:  # what is live is looked after as well
            return
        with (Path(os.environ["EXACTLY_ONCE_HOME"]) / "launched").open("a") as launched:
            launched.write(f"{run.tags['genai/release']} {run.tags['genai/attempt']} {run.run_id}\n")
        crash_point("daemon.launched")

    def terminate(self, run_id: str) -> bool:
        return False
