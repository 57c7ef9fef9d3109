"""What all tests have in common: signals as a terminal gives them, and no limits of time but pytest's own.

A script's shell ignores SIGINT for what it runs in the background. Dagster then treats SIGTERM as it finds SIGINT, and
whatever process a test starts would inherit that it is ignored.
"""

import os
import signal
import sys

from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Without bytecode every process that a test starts compiles Dagster or vLLM again: half of the time of its imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A busy machine takes longer than hypothesis expects, and that is no finding.
settings.register_profile("genai", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("genai")
