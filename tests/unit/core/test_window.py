from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from genai_pipeline.core.rollout_spec import seconds
from genai_pipeline.core.window import Window

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = Window.parse("Mon-Fri 09:00-17:00 Europe/Berlin")


def at(day: int, hour: int, minute: int = 0, month: int = 3, zone: ZoneInfo = BERLIN) -> datetime:
    """In 2026, of which March 23 is a Monday and March 29 the day on which Berlin's clocks go forward."""
    return datetime(2026, month, day, hour, minute, tzinfo=zone)


@pytest.mark.parametrize(
    ("when", "is_open"),
    [
        (at(23, 8, 59), False),
        (at(23, 9), True),
        (at(27, 16, 59), True),
        (at(27, 17), False),
        (at(28, 12), False),
        (at(30, 9), True),
        (datetime(2026, 3, 30, 7, tzinfo=UTC), True),  # summer time since the day before
        (datetime(2026, 3, 23, 7, tzinfo=UTC), False),
    ],
)
def test_open_on_its_days_by_its_own_clock(when: datetime, is_open: bool) -> None:
    assert OFFICE.is_open(when) is is_open


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    night = Window.parse("Fri 22:00-06:00 Europe/Berlin")
    assert [night.is_open(at(day, hour)) for day, hour in ((27, 21), (27, 22), (28, 5), (28, 6), (27, 5))] == [
        False, True, True, False, False,
    ]  # fmt: skip


def test_the_next_opening_skips_the_week_end() -> None:
    assert OFFICE.next_opening(at(27, 17)) == at(30, 9)
    assert OFFICE.next_opening(at(30, 8)) == at(30, 9)
    assert OFFICE.next_opening(at(30, 9)) == at(31, 9)
    assert Window.parse("Mon 09:00-10:00").next_opening(at(23, 10, zone=ZoneInfo("UTC"))) == at(
        30, 9, zone=ZoneInfo("UTC")
    )


def test_where_the_clocks_go_forward_over_it_it_opens_a_week_later() -> None:
    gone = Window.parse("Sun 02:30-03:30 Europe/Berlin")
    assert gone.next_opening(at(28, 12)) == at(5, 2, 30, month=4)
    assert not gone.is_open(at(29, 3, 30))


def test_days_and_zone_may_be_left_out() -> None:
    always = Window.parse("00:00-00:00")
    assert all(always.is_open(at(day, 12)) for day in range(23, 30))
    assert Window.parse("Sat-Mon,Wed 10:00-11:00").days == {5, 6, 0, 2}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("at night", "must be a maintenance window"),
        ("Mon 9-17", "must be a maintenance window"),
        ("Mon 25:00-26:00", "time of day"),
        ("Moon 09:00-10:00", "'Moon'"),
        ("Mon- 09:00-10:00", "''"),
        ("Mon 09:00-10:00 Europe", "time zone"),
        ("Mon 09:00-10:00 ../../etc/passwd", "must be a maintenance window"),
        ("Mon 09:00-10:00 Mars/Base", "time zone"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Window.parse(text)


@pytest.mark.parametrize(
    ("text", "s"), [("2m", 120), ("30s", 30), ("1h30m", 5400), ("1.5m", 90), ("1h 5s", 3605), (7, 7)]
)
def test_durations(text: str | int, s: float) -> None:
    assert seconds(text) == s


@pytest.mark.parametrize("text", ["", "2", "m", "2 parsecs", "-2m"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        seconds(text)
