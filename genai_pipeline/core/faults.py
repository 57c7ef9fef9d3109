"""Places where a test may kill us. In production every one of them is a no-op.

`crash_point("staging.before_manifest")` stands at each state transition. With
`GENAI_CRASH_AT=staging.before_manifest` in the environment the process dies there as by SIGKILL:
no clean-up runs, which is what the idempotence of every step is tested against.
"""

from __future__ import annotations

import os
import signal

ARMED_BY = "GENAI_CRASH_AT"


def crash_point(name: str) -> None:
    """Die here, as by SIGKILL, if a test armed `name`."""
    if os.environ.get(ARMED_BY) == name:
        os.kill(os.getpid(), signal.SIGKILL)
