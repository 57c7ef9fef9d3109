from datetime import UTC, datetime

import pytest

from genai_pipeline.agent.agent_errors import ToolError
from genai_pipeline.agent.tools.builtin import current_time

NOW = datetime(2026, 11, 24, 5, 32, 5, 123456, tzinfo=UTC)


def test_the_time_has_the_form_the_demo_model_was_taught():
    assert current_time("Asia/Tokyo", NOW) == "2026-11-24T14:32:05+09:00 (Asia/Tokyo)"


def test_zones_with_half_hours_and_several_parts_are_known():
    assert current_time("Asia/Kolkata", NOW).startswith("2026-11-24T11:02:05+05:30")
    assert current_time(" America/Argentina/Ushuaia ", NOW).endswith("-03:00 (America/Argentina/Ushuaia)")


@pytest.mark.parametrize(
    ("zone", "named"),
    [("Mars/Olympus", "Europe/Berlin"), ("", "Europe/Berlin"), (".", "Europe/Berlin"), ("Europe", "Europe/Berlin"),
     ("../../etc/passwd", "Europe/Berlin"), ("/etc/passwd", "Europe/Berlin"), ("localtime", "Europe/Berlin"),
     ("a\0b", "Europe/Berlin"), ("tokyo", "Asia/Tokyo"), ("Asia/Tokio", "Asia/Tokyo"), ("ASIA/tokyo", "Asia/Tokyo"),
     ("new york", "America/New_York"), ("Europe/Parris", "Europe/Paris"),
     ("Etc/Bunos Aires", "America/Argentina/Buenos_Aires")],
)  # fmt: skip
def test_an_unknown_zone_is_an_error_that_names_a_near_one(zone: str, named: str):
    with pytest.raises(ToolError) as error:
        current_time(zone, NOW)

    assert str(error.value) == f"unknown time zone '{zone}'; use an IANA name such as {named}"
