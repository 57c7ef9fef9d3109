"""Dagster's own daemon, with crash points where it goes from one state to the next.

Dagster has such places itself, for its own tests (`check_for_debug_crash`); here GENAI_CRASH_AT arms them.
"""

from __future__ import annotations

import sys
from typing import Any

from dagster._daemon import sensor
from dagster._daemon.cli import cli

from genai_pipeline.core.faults import crash_point

AT_THE_END = "STATE_WRITTEN"


def _crash(flags: Any, name: str) -> None:
    crash_point(f"daemon.{name}")


def main() -> None:
    written = sensor.SensorLaunchContext.__exit__

    def then_crash(self: Any, *error: Any) -> Any:
        result = written(self, *error)
        if self._tick.run_ids:
            crash_point(f"daemon.{AT_THE_END}")
        return result

    sensor.check_for_debug_crash = _crash
    sensor.SensorLaunchContext.__exit__ = then_crash  # type: ignore[method-assign]
    sensor.MIN_INTERVAL_LOOP_TIME = 0.2  # type: ignore[assignment]
    sys.exit(cli(["run", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
