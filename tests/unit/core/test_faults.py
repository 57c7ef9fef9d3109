import subprocess
import sys

import pytest

from genai_pipeline.core.faults import ARMED_BY, Crash, crash_point


@pytest.mark.parametrize(
    ("armed", "status"), [("a.b", -9), ("a.b:SIGKILL", -9), ("a.b:SIGTERM", -15), ("a.c:SIGTERM", 0), ("a.b#3", -9)]
)
def test_a_process_ends_where_it_is_armed_and_nowhere_else(armed, status):
    script = "from genai_pipeline.core.faults import crash_point\nfor _ in range(3): crash_point('a.b')"

    ended = subprocess.run([sys.executable, "-c", script], env={ARMED_BY: armed}, timeout=60, check=False)

    assert ended.returncode == status


def test_a_crash_point_can_raise_at_the_time_that_was_asked_for(monkeypatch):
    monkeypatch.setenv(ARMED_BY, "test.nth:exception#2")
    crash_point("test.nth")
    crash_point("test.other")

    with pytest.raises(Crash, match=r"test\.nth"):
        crash_point("test.nth")

    crash_point("test.nth")


def test_unarmed_it_does_nothing(monkeypatch):
    monkeypatch.delenv(ARMED_BY, raising=False)

    crash_point("a.b")


@pytest.mark.parametrize("armed", ["a.b:SIGHUP", "a.b#0", "a.b#", "a b"])
def test_what_cannot_be_armed_is_named(monkeypatch, armed):
    monkeypatch.setenv(ARMED_BY, armed)

    with pytest.raises(ValueError, match=ARMED_BY):
        crash_point("a.b")
