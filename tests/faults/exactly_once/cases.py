"""One run per release and attempt, whatever dies between the sensor's decision and the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.exactly_once.installation import Installation, until

KINDS = ("SIGKILL", "SIGTERM", "exception")
IN_THE_CODE = ("controller.before_attempt", "controller.attempt_written")
IN_THE_DAEMON = (
    "daemon.TICK_HELD",  # before the sensor is asked
    "daemon.RUN_IDS_RESERVED",  # after it asked for the run
    "daemon.RUN_CREATED",
    "daemon.launched",  # in the middle of the launch
    "daemon.RUN_LAUNCHED",  # before the tick and its cursor are written
    "daemon.STATE_WRITTEN",  # after that
)
PLACES = (*IN_THE_CODE, *IN_THE_DAEMON)
CASES = [(place, kind) for place in PLACES for kind in KINDS if (place, kind) != ("daemon.launched", "exception")]
"""All but one: what is launched and then said to have failed is a run that Dagster does not let begin any more."""
KILLED, OTHERS = ([case for case in CASES if (case[1] == "SIGKILL") is killed] for killed in (True, False))
TWO = [("controller.attempt_written", "SIGKILL"), ("daemon.RUN_CREATED", "SIGKILL")]
SOME = KILLED[1::2] + OTHERS[::4]
FEW = KILLED[::2] + OTHERS[1::8]
"""On the other database: each place is killed on one of the two."""
ALL = [pytest.param(CASES, id=f"all-{nth}", marks=pytest.mark.nightly) for nth in range(20)]
"""Each with an installation of its own: one of hundreds of models takes a minute to load them."""
ATTEMPTS = {"1", "2"}
"""A step is written down before its run is asked for: an answer that is lost costs an attempt, never a second run.

It may be lost in any case: a busy code server still answers the daemon that the case before has killed.
"""

Install = Callable[..., Installation]


def every_case(installation: Installation, cases: list[tuple[str, str]]) -> None:
    installation.start_code()
    for number, (place, kind) in enumerate(cases):
        one_case(installation, number, place, kind)


def one_case(at: Installation, number: int, place: str, kind: str) -> None:
    case = f"{place} by {kind}"
    dying = "code" if place in IN_THE_CODE else "daemon"
    if dying == "code":
        at.stop("code")
        at.start_code(f"{place}:{kind}")
    at.start_daemon(f"{place}:{kind}" if dying == "daemon" else "")
    at.publish(number)
    if kind == "SIGTERM":
        at.end(dying)
    elif kind == "SIGKILL":
        until(lambda: at.has_died(dying), f"{case}: {dying} passes it and dies. {at.log()}")
    if kind != "exception":
        (at.start_code if dying == "code" else at.start_daemon)()
    until(lambda: at.is_live(number), f"{case}: the release is rolled out after all. {at.log()}")
    settle(at)
    at.stop("daemon")
    assert_one_run(at, number, case)


def settle(at: Installation) -> None:
    """Let the sensor look twice more: a second run would be asked for now."""
    before = at.ticks()
    until(lambda: at.ticks() >= before + 2, f"two more ticks. {at.log()}")


def assert_one_run(at: Installation, number: int, case: str) -> None:
    launched = at.launched(number)
    assert len(launched) == 1, f"{case}: launched {launched}"
    assert launched[0][1] in ATTEMPTS, f"{case}: attempt {launched[0][1]}"
    assert at.runs_of(launched[0][0]) == [launched[0][2]], f"{case}: another run was created"
