"""What all tests have in common: signals as a terminal gives them, and no limits of time but pytest's own.

A script's shell ignores SIGINT for what it runs in the background. Dagster then treats SIGTERM as it finds SIGINT, and
whatever process a test starts would inherit that it is ignored.
"""

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import certifi
import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Without bytecode every process that a test starts compiles Dagster or vLLM again: half of the time of its imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Each HTTP client reads the whole bundle of authorities, in 60 ms. Tests speak to loopback: one authority is enough.
_END = "-----END CERTIFICATE-----"
_BUNDLE = tempfile.NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115 - it goes with the process
_BUNDLE.write(Path(certifi.where()).read_text(encoding="utf-8").partition(_END)[0] + _END + "\n")
_BUNDLE.flush()
certifi.where = lambda: _BUNDLE.name

# A busy machine takes longer than hypothesis expects, and that is no finding.
settings.register_profile("genai", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("genai")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave what the imports make out of every garbage collection: hundreds of thousands of objects that stay.

    Looking through them again and again is a seventh of the time of a collection of tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
