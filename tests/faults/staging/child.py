"""A stager in a process of its own, which may be killed. Children of a fork server that has imported everything."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import boto3  # noqa: F401 (and what follows: imported once, by the fork server)
import httpx  # noqa: F401
import huggingface_hub.hf_api  # noqa: F401

import genai_pipeline.gateways.store.s3_errors  # noqa: F401
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.faults import ARMED_BY, Crash
from tests.faults.staging.world import Addresses

DEADLINE_S = 60
STAGED, REFUSED, CRASHED, ENDED_BY_SIGTERM = 0, 1, 3, 128 + signal.SIGTERM


class Interrupted(BaseException):
    """What Dagster makes of SIGTERM in the process of a step: an interrupt of the main thread."""


class StagerProcess:
    """Stages what `addresses` says. Its words, an error's or a traceback, are in `words`.

    Args:
        crash_at: what GENAI_CRASH_AT is set to there.
        talkative: it says all there is to say: logs of every library at debug level, progress, tracebacks.
    """

    def __init__(self, addresses: Addresses, folder: Path, crash_at: str = "", talkative: bool = False) -> None:
        self._words = folder / f"words-{os.urandom(4).hex()}"
        self._process = context().Process(target=_stage, args=(addresses, crash_at, self._words, talkative))

    def start(self) -> StagerProcess:
        self._process.start()
        return self

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process.pid and self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def ended(self, deadline_s: float = DEADLINE_S) -> int:
        """Its exit code: negative for a signal."""
        self._process.join(deadline_s)
        if self._process.exitcode is None:
            self._process.kill()
            raise AssertionError(f"The stager did not end within {deadline_s} s. It said: {self.words}")
        return self._process.exitcode

    @property
    def words(self) -> str:
        return self._words.read_text() if self._words.exists() else ""


def context() -> ForkServerContext:
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([__name__])
    return found


def _stage(addresses: Addresses, crash_at: str, words: Path, talkative: bool) -> None:
    with words.open("w") as told:
        os.dup2(told.fileno(), sys.stdout.fileno())
        os.dup2(told.fileno(), sys.stderr.fileno())
    signal.signal(signal.SIGTERM, _interrupt)
    if crash_at:
        os.environ[ARMED_BY] = crash_at
    if talkative:
        return _stage_and_tell(addresses)
    try:
        addresses.stage()
    except Interrupted:
        sys.exit(ENDED_BY_SIGTERM)
    except Crash:
        sys.exit(CRASHED)
    except GenaiError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(REFUSED)


def _stage_and_tell(addresses: Addresses) -> None:
    """Whatever is raised is shown with its causes, by Python itself."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
    time.sleep = lambda _: None  # what is said is asked for, not how long it takes
    logging.debug("%r %r", addresses.store(), addresses.hub_gateway())

    def show(what: object) -> None:
        sys.stderr.write(f"{what}\n")

    show(replace(addresses, sleep=lambda _: None).stage(say=show, progress=show))


def _interrupt(number: int, frame: Any) -> None:
    raise Interrupted
